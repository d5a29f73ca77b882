// The live side: a WebSocket that tells of every change, and connects again when it is lost.

const FIRST_WAIT = 500;
const LONGEST_WAIT = 30_000;
const PING_EVERY = 25_000;
const PONG_WITHIN = 10_000;

// `reload` reads the lists, `change` takes one slot's news, `show` the connection's state.
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
      // An https page may not even try ws:, except to its own machine.
      lose();
      return;
    }
    opened.onopen = async () => {
      // What changed while nobody listened is told to nobody: read it, then it is live.
      try {
        await reload();
      } catch {
        if (opened === socket) lose();
        return;
      }
      if (opened !== socket) return;
      show("live");
      ping();
      pingTimer = setInterval(ping, PING_EVERY);
    };
    opened.onmessage = ({ data }) => {
      if (opened === socket) hear(data);
    };
    opened.onclose = () => {
      if (opened === socket) lose();
    };
  }

  function hear(data) {
    const message = JSON.parse(data);
    if (message === "pong") {
      clearTimeout(pongTimer);
      // Only now: a server that accepts and at once hangs up must not be asked without a pause.
      attempts = 0;
    } else if (message.type === "SET_INTERVIEW") {
      change(message.id, message.interview);
    }
  }

  // A connection can be dead without a word (sleep, another network); an answer proves it is not.
  function ping() {
    socket.send("ping");
    clearTimeout(pongTimer);
    pongTimer = setTimeout(lose, PONG_WITHIN);
  }

  function lose() {
    clearInterval(pingTimer);
    clearTimeout(pongTimer);
    const lost = socket;
    socket = null;
    lost?.close();
    show("reconnecting");
    // Longer each time, and at random: a server that comes back is not met by all at once.
    const wait = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** attempts++);
    retryTimer = setTimeout(connect, wait * (0.5 + Math.random() / 2));
  }

  // Somebody is looking, or the network is back: find out now.
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
