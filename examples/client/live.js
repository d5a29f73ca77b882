// Live updates: a WebSocket that receives every change and reconnects when it is lost.

const FIRST_WAIT = 500;
const LONGEST_WAIT = 30_000;
const PING_INTERVAL = 25_000;
const PONG_TIMEOUT = 10_000;

// `reload` reads the lists, `applyUpdate` receives one appointment's update, and `show` receives
// the state of the connection.
export function follow(base, { reload, applyUpdate, show }) {
  const url = `${base.replace(/^http/, "ws")}/`;
  let socket = null;
  let attempts = 0;
  let retryTimer, pingTimer, pongTimer;

  function connect() {
    clearTimeout(retryTimer);
    let created;
    try {
      created = socket = new WebSocket(url);
    } catch {
      // An https page must not use ws:, except to its own machine.
      lose();
      return;
    }
    created.onopen = async () => {
      // Changes made while the socket was closed are not sent again, so read the lists first.
      try {
        await reload();
      } catch {
        if (created === socket) lose();
        return;
      }
      if (created !== socket) return;
      show("live");
      ping();
      pingTimer = setInterval(ping, PING_INTERVAL);
    };
    created.onmessage = ({ data }) => {
      if (created === socket) receive(data);
    };
    created.onclose = () => {
      if (created === socket) lose();
    };
  }

  function receive(data) {
    const message = JSON.parse(data);
    if (message === "pong") {
      clearTimeout(pongTimer);
      // Not in onopen: if the server accepts and immediately closes, the waits must keep growing.
      attempts = 0;
    } else if (message.type === "SET_INTERVIEW") {
      applyUpdate(message.id, message.interview);
    }
  }

  // After sleep or a network change, a dead connection can look open. Only a pong proves that it
  // works.
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

  // Checks the connection now: the page has become visible, or the network has returned.
  function checkNow() {
    if (!socket) connect();
    else if (socket.readyState === WebSocket.OPEN) ping();
  }

  addEventListener("online", checkNow);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") checkNow();
  });
  connect();
  return { checkNow };
}
