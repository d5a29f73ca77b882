// What happens: the state, what people do to it, and what the server tells.

import { createApi, findBase } from "./api.js";
import { follow } from "./live.js";
import { dayList, failure, h, slotItem } from "./view.js";

const { base, error: baseError } = findBase();
const api = createApi(base);
const at = (id) => document.getElementById(id);

const state = {
  days: null, // not read yet
  appointments: {},
  interviewers: {},
  dayId: null,
};
// What a slot shows where that is not simply its interview: { mode, … } by slot id.
const cards = new Map();
// How many times a slot was told of, to know whether one was while a request was under way.
const told = new Map();

// Reading

let started = 0;
let applied = 0;
// What is told while a list is on its way may be newer than that list: it comes on top.
const news = new Set();

async function reload({ isAsked = false } = {}) {
  const number = ++started;
  const since = new Map();
  news.add(since);
  try {
    const [days, appointments, interviewers] = await Promise.all([
      api.days(),
      api.appointments(),
      api.interviewers(),
    ]);
    if (number < applied) return; // overtaken by a later reading
    applied = number;
    Object.assign(state, { days, appointments, interviewers });
    for (const [id, interview] of since) store(id, interview);
  } catch (problem) {
    // With a week on the screen, “Reconnecting…” says enough.
    if (isAsked || !state.days) showReadingFailed(problem, isAsked);
    throw problem;
  } finally {
    news.delete(since);
  }
  at("problem").replaceChildren();
  for (const id of cards.keys()) noticeChange(id);
  renderAll();
}

function showReadingFailed(problem, isAsked) {
  const panel = at("problem");
  // It is read again with every new connection: no need to say the same again.
  if (panel.hasChildNodes() && !isAsked) return;
  const again = h("button", { type: "button", class: "primary" }, "Try again");
  const close = h("button", { type: "button" }, "Close");
  again.onclick = async () => {
    again.textContent = "Reading…";
    live.hurry();
    try {
      await reload({ isAsked: true });
      at("day-name").focus();
    } catch {
      panel.querySelector("button").focus();
    }
  };
  close.onclick = () => panel.replaceChildren();
  panel.replaceChildren(failure("The week could not be read.", problem, [again, close]));
  at("empty").textContent = "";
}

function store(id, interview) {
  if (!state.appointments[id]) return;
  state.appointments[id].interview = interview;
  for (const day of state.days) {
    if (!day.appointments.includes(id)) continue;
    day.spots = slotsOf(day).filter((slot) => !slot.interview).length;
  }
}

// Looking things up

const slotsOf = (day) => day.appointments.map((id) => state.appointments[id]).filter(Boolean);
const dayOf = (id) => state.days.find((day) => day.appointments.includes(id));
const interviewer = (id) =>
  state.interviewers[id] ?? { id, name: id ? `interviewer ${id}` : "nobody" };
const describe = ({ student, interviewer: id }) => `${student} with ${interviewer(id).name}`;
const same = (one, other) =>
  one?.student === other?.student && one?.interviewer === other?.interviewer;

function whole(id) {
  const slot = state.appointments[id];
  const held = slot.interview?.interviewer;
  const ids = new Set(dayOf(id).interviewers);
  // Whoever has left the day stays a choice for the interview they still have.
  if (held) ids.add(held);
  const choices = [...ids].map(interviewer);
  return { ...slot, interviewer: slot.interview && interviewer(held), choices };
}

// Drawing

function renderAll() {
  const { days } = state;
  const day = days.find(({ id }) => `#day-${id}` === location.hash) ?? days[0];
  const isOther = day?.id !== state.dayId;
  state.dayId = day?.id ?? null;
  at("day-name").textContent = day?.name ?? "";
  const ids = day ? slotsOf(day).map(({ id }) => id) : [];
  at("empty").textContent = ids.length ? "" : day ? "No slots on this day." : "The week is empty.";
  renderDays();
  if (isOther) {
    const current = at("days").querySelector("[aria-current]");
    current?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  const drawn = [...at("slots").children].map((item) => Number(item.dataset.slot));
  if (isOther || ids.join() !== drawn.join()) at("slots").replaceChildren(...ids.map(item));
  else ids.forEach(refresh);
}

function renderDays() {
  const list = dayList(state.days, state.dayId);
  const old = at("days").firstElementChild;
  if (!old) at("days").append(list);
  else if (!old.isEqualNode(list)) replace(old, list);
}

const item = (id) => slotItem(whole(id), cards.get(id) ?? {}, act);
const itemOf = (id) => document.querySelector(`[data-slot="${id}"]`);

function replace(old, fresh) {
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  const scrolled = old.scrollLeft;
  old.replaceWith(fresh);
  fresh.scrollLeft = scrolled;
  if (!focused) return;
  const again = focused.dataset.key && fresh.querySelector(`[data-key="${focused.dataset.key}"]`);
  (again || fresh.querySelector("[data-first]") || fresh).focus();
}

// Draws a slot after something about it changed, unless somebody is typing there.
function refresh(id) {
  const old = itemOf(id);
  if (!old) return;
  const card = cards.get(id);
  if (card?.mode === "form" && old.dataset.mode === "form") {
    const shown = old.querySelector(".notice");
    if (shown.textContent !== (card.notice ?? "")) shown.textContent = card.notice ?? "";
    return;
  }
  const fresh = item(id);
  if (!old.isEqualNode(fresh)) replace(old, fresh);
}

// Shows a slot another way, on purpose: with no card, as it is.
function turn(id, card) {
  if (card) cards.set(id, card);
  else cards.delete(id);
  const old = itemOf(id);
  if (old) replace(old, item(id));
}

function say(text) {
  at("said").textContent = text;
}

// What the server tells

function change(id, interview) {
  told.set(id, (told.get(id) ?? 0) + 1);
  for (const since of news) since.set(id, interview);
  if (!state.days) return;
  const before = state.appointments[id]?.interview;
  store(id, interview);
  if (!state.appointments[id] || same(before, interview)) return;
  noticeChange(id);
  renderDays();
  refresh(id);
  if (cards.get(id)?.mode === "busy") return; // its own news: said when it is done
  itemOf(id)?.classList.add("changed");
  const where = `${dayOf(id)?.name ?? ""} ${state.appointments[id].time}`;
  say(interview ? `${where}: now ${describe(interview)}.` : `${where}: now free.`);
}

// A slot has changed under a form, a question or a message about it.
function noticeChange(id) {
  const card = cards.get(id);
  if (!card) return;
  const interview = state.appointments[id]?.interview;
  if (card.mode === "form") {
    card.notice = noticeOf(card.of, interview);
  } else if ("wanted" in card && same(card.wanted, interview)) {
    cards.delete(id); // it was done after all, and only the answer was lost
  } else if ("of" in card && !same(card.of, interview)) {
    cards.delete(id); // nobody may cancel another interview than the one they were asked about
  }
}

function noticeOf(before, now) {
  if (same(before, now)) return "";
  if (!now) return "This interview has just been cancelled by somebody else.";
  if (!before) return `Somebody has just booked this slot: ${describe(now)}.`;
  return `This has just been changed to ${describe(now)}. Saving overwrites that.`;
}

// What people do

const act = {
  open(id) {
    const { interview } = state.appointments[id];
    const draft = cards.get(id)?.draft ?? { student: "", interviewer: null, ...interview };
    turn(id, { mode: "form", of: interview && { ...interview }, draft });
    itemOf(id)?.querySelector("[data-first]").focus();
  },

  draft(id, name, value) {
    const card = cards.get(id);
    if (card?.mode === "form") card.draft[name] = name === "interviewer" ? Number(value) : value;
  },

  ask(id) {
    turn(id, { mode: "confirm", of: { ...state.appointments[id].interview } });
    itemOf(id)?.querySelector("[data-first]").focus();
  },

  // Back to the form with all that was typed, where it is a form that failed.
  close(id) {
    const { form } = cards.get(id) ?? {};
    turn(id, form);
    if (form) {
      noticeChange(id);
      refresh(id);
    }
  },

  dismiss(id) {
    turn(id, null);
  },

  again(id) {
    cards.get(id).repeat();
  },

  async save(id, isRepeated = false) {
    const card = cards.get(id);
    const form = { ...(card.form ?? card), errors: [] };
    const interview = { ...form.draft };
    const before = told.get(id);
    turn(id, { mode: "busy", text: "Saving…", form });
    try {
      await (form.of ? api.edit : api.book)(id, interview);
      // A slot told of since shows what is stored, which may be newer than what was sent here.
      if (told.get(id) === before) store(id, interview);
      done(id, `Saved: ${describe(interview)}.`);
    } catch (problem) {
      if (problem.status === 412) return miss(id, form, interview, isRepeated);
      if (problem.status === 422) {
        turn(id, { ...form, errors: problem.errors });
        noticeChange(id);
        refresh(id);
        return say(problem.message);
      }
      const text = "The interview could not be saved.";
      const repeat = () => act.save(id, true);
      fail(id, before, { text, error: problem, form, wanted: interview, repeat });
    }
  },

  async cancel(id) {
    const { of } = cards.get(id);
    const before = told.get(id);
    turn(id, { mode: "busy", text: "Cancelling…" });
    try {
      await api.cancel(id);
      if (told.get(id) === before) store(id, null);
      done(id, "Cancelled.");
    } catch (problem) {
      const text = "The interview could not be cancelled.";
      const repeat = () => act.cancel(id);
      fail(id, before, { text, error: problem, of, wanted: null, repeat });
    }
  },
};

function done(id, text) {
  renderDays();
  turn(id, null);
  say(text);
}

function fail(id, before, card) {
  cards.set(id, { mode: "error", ...card });
  if (told.get(id) !== before) noticeChange(id);
  turn(id, cards.get(id));
}

// 412: a free slot was wanted and it is taken, or a booked one and it is free.
async function miss(id, form, sent, isRepeated) {
  try {
    const appointments = await api.appointments();
    store(id, appointments[id]?.interview ?? null);
  } catch {
    // What is known here has to do; the connection heals by itself.
  }
  const { time, interview } = state.appointments[id];
  renderDays();
  // The first try was stored after all and only its answer was lost.
  if (isRepeated && same(interview, sent)) return done(id, `Saved: ${describe(interview)}.`);
  const [text, detail] = interview
    ? ["Somebody was faster, sorry.", `${time} now belongs to ${describe(interview)}.`]
    : form.of
      ? ["Somebody has cancelled this interview.", `${time} is free now.`]
      : ["Somebody was faster, sorry.", `But ${time} is free again.`];
  const draft = interview ? undefined : form.draft;
  turn(id, { mode: "missed", of: interview && { ...interview }, text, detail, draft });
  say(`${text} ${detail}`);
}

// The start

at("unserved").remove();
at("server").textContent = base;
at("api").value = base;
at("api-error").textContent = baseError;
at("settings").open = Boolean(baseError);

addEventListener("hashchange", () => {
  if (!state.days) return;
  renderAll();
  say(at("day-name").textContent);
});

const STATES = { connecting: "Connecting…", live: "Live", reconnecting: "Reconnecting…" };
const live = follow(base, {
  reload,
  change,
  show(name) {
    at("connection").dataset.state = name;
    at("connection").textContent = STATES[name];
  },
});
// Not only when the socket opens: the week can be read where a proxy lets no WebSocket through.
reload().catch(() => {});
