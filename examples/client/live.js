// Live updates: a WebSocket that receives every change and reconnects when it is lost.

const FIRST_WAIT = 500;
const LONGEST_WAIT = 30_000;
const PING_INTERVAL = 25_000;
const PONG_TIMEOUT = 10_000;

// `reload` reads the lists, `change` receives one appointment's update, and `show` receives
// the state of the connection.
export function follow(base, { reload, change, show }) {
  const url = `${base.replace(/^http/, "ws")}/`;
  let socket = null;
  let attempts = 0;
  let retryTimer, pingTimer, pongTimer;

  function connect() {
    clearTimeout(retryTimer);
    let opened;
    try {
      opened = socket = new WebSocket(url);
    } catch {
      // An https page must not use ws:, except to its own machine.
      lose();
      return;
    }
    opened.onopen = async () => {
      // Changes made while the socket was closed are not sent again, so read the lists first.
      try {
        await reload();
      } catch {
        if (opened === socket) lose();
        return;
      }
      if (opened !== socket) return;
      show("live");
      ping();
      pingTimer = setInterval(ping, PING_INTERVAL);
    };
    opened.onmessage = ({ data }) => {
      if (opened === socket) receive(data);
    };
    opened.onclose = () => {
      if (opened === socket) lose();
    };
  }

  function receive(data) {
    const message = JSON.parse(data);
    if (message === "pong") {
      clearTimeout(pongTimer);
      // Not in onopen: a server that accepts and then hangs up at once still needs the pauses.
      attempts = 0;
    } else if (message.type === "SET_INTERVIEW") {
      change(message.id, message.interview);
    }
  }

  // After sleep or a change of network a dead connection can look alive. A pong proves that it is.
  function ping() {
    socket.send("ping");
    clearTimeout(pongTimer);
    pongTimer = setTimeout(lose, PONG_TIMEOUT);
  }

  function lose() {
    clearInterval(pingTimer);
    clearTimeout(pongTimer);
    const lost = socket;
    socket = null;
    lost?.close();
    show("reconnecting");
    // The waits grow and are random, so that clients do not all return at the same moment.
    const wait = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** attempts++);
    retryTimer = setTimeout(connect, wait * (0.5 + Math.random() / 2));
  }

  // Checks the connection now, because somebody is looking or the network has returned.
  function hurry() {
    if (!socket) connect();
    else if (socket.readyState === WebSocket.OPEN) ping();
  }

  addEventListener("online", hurry);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") hurry();
  });
  connect();
  return { hurry };
}
