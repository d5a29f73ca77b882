// Event handling: user actions, and what the server reports.

import { createApi, findBase } from "./api.js";
import { explainErrors, explainForm, isTaken } from "./form.js";
import { follow } from "./live.js";
import { appointmentItem, button, dayList, failure, updateForm } from "./view.js";
import {
  appointmentsOf,
  choicesFor,
  dayOf,
  describe,
  findNextFree,
  interviewerOf,
  isSame,
  nameOf,
  storeInterview,
  storeLists,
  week,
} from "./week.js";

const TITLE = document.title;
const RECOVERY_INTERVAL = 5; // s, if the server does not say

const { base, error: baseError } = findBase();
const api = createApi(base);
const at = (id) => document.getElementById(id);

let currentDayId = null;
// What an appointment shows instead of its interview, by id: { mode, … }.
const cards = new Map();
// How many updates an appointment has received, to see whether one came during a request.
const updateCounts = new Map();

// Reading the lists

let readsStarted = 0;
let lastApplied = 0;
// An update that arrives while the lists are being read may be newer than they are.
const updatesDuringReads = new Set();

async function reload({ isRequested = false } = {}) {
  const number = ++readsStarted;
  const updates = new Map();
  updatesDuringReads.add(updates);
  try {
    const lists = await Promise.all([api.days(), api.appointments(), api.interviewers()]);
    if (number < lastApplied) return; // a later read was faster
    lastApplied = number;
    storeLists(...lists);
    for (const [id, interview] of updates) storeInterview(id, interview);
  } catch (problem) {
    // If the week is on the screen, “Reconnecting…” says enough.
    if (!week.days) showUnreadWeek(problem, isRequested);
    if (problem.isOutage) awaitRecovery(problem);
    throw problem;
  } finally {
    updatesDuringReads.delete(updates);
  }
  at("problem").replaceChildren();
  for (const id of cards.keys()) {
    settleCard(id);
    leaveError(id, number);
  }
  renderAll();
}

function showUnreadWeek(problem, isRequested) {
  const panel = at("problem");
  // Every new connection reads the week again. Repeating the same alert would only disturb.
  if (panel.hasChildNodes() && !isRequested) return;
  async function readAgain({ target }) {
    target.textContent = "Loading…";
    live.hurry();
    try {
      await reload({ isRequested: true });
      at("day-name").focus();
    } catch {
      panel.querySelector("button").focus();
    }
  }
  // There is no button to close it: behind it, the page is empty.
  panel.replaceChildren(
    failure("The week could not be loaded.", problem, [
      button("Try again", "again", readAgain, { primary: true }),
      button("Change server", "server", openSettings),
    ]),
  );
  at("empty").textContent = "";
}

// While an error is on the screen, tries to read the lists until that works.
let recoveryTimer;

function awaitRecovery({ retryAfter }) {
  clearTimeout(recoveryTimer);
  const seconds = Number(retryAfter) || RECOVERY_INTERVAL;
  recoveryTimer = setTimeout(() => {
    const hasError = [...cards.values()].some(({ mode }) => mode === "error");
    if (hasError || !week.days) reload().catch(() => {});
  }, seconds * 1000);
}

// The server responds again, so an error from before is no longer true. A form comes back
// with everything that was typed.
function leaveError(id, readNumber) {
  const card = cards.get(id);
  if (card?.mode !== "error" || readNumber <= card.readsStarted) return;
  const notice = "The server is available again. This interview is not saved yet.";
  turn(id, card.form && { ...card.form, notice });
  announce(card.form ? notice : "The server is available again.");
}

// Drawing

// Returns whether the page now shows another day than before.
function renderAll() {
  const { days } = week;
  const day = days.find(({ id }) => `#day-${id}` === location.hash) ?? days[0];
  const isOther = day?.id !== currentDayId;
  currentDayId = day?.id ?? null;
  document.title = day ? `${day.name} · ${TITLE}` : TITLE;
  at("day-name").textContent = day?.name ?? "";
  const ids = day ? appointmentsOf(day).map(({ id }) => id) : [];
  const emptyText = day ? "There are no appointments on this day." : "The week is empty.";
  at("empty").textContent = ids.length ? "" : emptyText;
  renderDays();
  if (isOther) {
    const current = at("days").querySelector("[aria-current]");
    current?.scrollIntoView({ block: "nearest", inline: "center" });
  }
  const shown = [...at("appointments").children].map((item) => Number(item.dataset.appointment));
  if (isOther || ids.join() !== shown.join()) at("appointments").replaceChildren(...ids.map(draw));
  else ids.forEach(refresh);
  return isOther;
}

function renderDays() {
  const list = dayList(week.days, currentDayId, appointmentsOf);
  const old = at("days").firstElementChild;
  if (!old) at("days").append(list);
  else if (!old.isEqualNode(list)) replace(old, list);
  showHiddenDays();
}

// On a phone the days are a strip. Marks the ends at which days are out of sight.
function showHiddenDays() {
  const { scrollLeft, clientWidth, scrollWidth } = at("days");
  const ends = [scrollLeft > 1 && "start", scrollLeft + clientWidth < scrollWidth - 1 && "end"];
  at("days").dataset.more = ends.filter(Boolean).join(" ");
}

function draw(id) {
  const appointment = week.appointments[id];
  const card = cards.get(id) ?? {};
  return appointmentItem(
    {
      ...appointment,
      interviewer: interviewerOf(appointment.interview?.interviewer),
      choices: choicesFor(id),
      ...(card.mode === "form" && explainForm(id, card, nextFreeFor(id))),
    },
    card,
    act,
  );
}

const nextFreeFor = (id) => findNextFree(id, (other) => cards.has(other));

const itemOf = (id) => document.querySelector(`[data-appointment="${id}"]`);

function replace(old, fresh) {
  keepFocus(old, fresh, () => old.replaceWith(fresh));
}

// Runs a change that may remove the focused control, and moves the focus to its successor.
function keepFocus(old, fresh, apply) {
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  apply();
  if (!focused || focused.isConnected) return;
  const { key } = focused.dataset;
  const successor = key && fresh.querySelector(`[data-key="${key}"]`);
  (successor || fresh.querySelector("[data-first]") || fresh).focus();
}

// Draws an appointment again after something about it has changed.
function refresh(id) {
  const old = itemOf(id);
  if (!old) return;
  const fresh = draw(id);
  if (old.dataset.mode === "form" && fresh.dataset.mode === "form") {
    keepFocus(old, old, () => updateForm(old, fresh));
  } else if (!old.isEqualNode(fresh)) replace(old, fresh);
}

// Gives an appointment another card, or none, and draws it.
function turn(id, card) {
  if (card) cards.set(id, card);
  else cards.delete(id);
  const old = itemOf(id);
  if (old && week.appointments[id]) replace(old, draw(id));
}

function focusFirst(id) {
  itemOf(id)?.querySelector("[data-first]").focus();
}

function announce(text) {
  at("announcement").textContent = text;
}

// Updates from the server

function change(id, interview) {
  updateCounts.set(id, (updateCounts.get(id) ?? 0) + 1);
  for (const updates of updatesDuringReads) updates.set(id, interview);
  if (!week.days) return;
  const before = week.appointments[id]?.interview;
  storeInterview(id, interview);
  if (!week.appointments[id] || isSame(before, interview)) return;
  settleCard(id);
  renderDays();
  refresh(id);
  // The next free appointment that a form offers may be another one now.
  for (const [other, { mode }] of cards) if (mode === "form") refresh(other);
  if (cards.get(id)?.mode === "busy") return; // this client's own change, announced when done
  itemOf(id)?.classList.add("changed");
  const name = nameOf(id);
  announce(interview ? `${name}: now ${describe(interview)}.` : `${name}: now free.`);
}

// Removes a card that the appointment's new state has made pointless.
function settleCard(id) {
  const card = cards.get(id);
  if (!card) return;
  const interview = week.appointments[id]?.interview;
  if (card.mode === "error" && isSame(card.wanted, interview)) {
    cards.delete(id); // the change was made after all, and only its response was lost
  } else if (["confirm", "error"].includes(card.mode) && card.of && !isSame(card.of, interview)) {
    cards.delete(id); // the question was about an interview that no longer exists
  }
}

// User actions

const act = {
  open(id) {
    const { interview } = week.appointments[id];
    const draft = { student: "", interviewer: null, ...interview };
    turn(id, { mode: "form", of: interview && { ...interview }, draft });
    focusFirst(id);
  },

  draft(id, name, value) {
    const card = cards.get(id);
    if (card?.mode !== "form") return;
    card.draft[name] = name === "interviewer" ? Number(value) : value;
    // The messages were about what was there before.
    card.errors = { ...card.errors, [name]: "", form: "" };
    refresh(id);
  },

  ask(id) {
    turn(id, { mode: "confirm", of: { ...week.appointments[id].interview } });
    focusFirst(id);
  },

  // Returns from an error to the form that failed.
  close(id) {
    turn(id, cards.get(id)?.form);
  },

  again(id) {
    cards.get(id).repeat();
  },

  submit(id) {
    const card = cards.get(id);
    if (isTaken(id, card)) return takeNextFree(id, card);
    const isCancelled = card.of && !week.appointments[id].interview;
    return save(id, { ...card, of: isCancelled ? null : card.of });
  },

  async cancel(id) {
    const { of } = cards.get(id);
    const before = updateCounts.get(id);
    turn(id, busyCard("Cancelling…", of));
    try {
      await api.cancel(id);
      if (updateCounts.get(id) === before) storeInterview(id, null);
      done(id, "Cancelled.");
    } catch (problem) {
      const text = `The interview of ${describe(of)} could not be cancelled.`;
      const repeat = () => act.cancel(id);
      fail(id, { text, problem, of, wanted: null, repeat });
    }
  },
};

async function save(id, { of, draft }, isRepeated = false) {
  const form = { mode: "form", of, draft };
  const interview = { ...draft };
  const before = updateCounts.get(id);
  turn(id, busyCard("Saving…", interview));
  try {
    await (of ? api.edit : api.book)(id, interview);
    // An update that came meanwhile has what is stored, which may be newer than this.
    if (updateCounts.get(id) === before) storeInterview(id, interview);
    done(id, `Saved: ${describe(interview)}.`);
  } catch (problem) {
    if (problem.status === 412) await miss(id, form, isRepeated);
    else if (problem.status === 422) await reject(id, form, problem);
    else failToSave(id, form, problem);
  }
}

function failToSave(id, form, problem) {
  const wanted = form.draft;
  const text = `The interview of ${describe(wanted)} could not be saved.`;
  fail(id, { text, problem, form, wanted, repeat: () => save(id, form, true) });
}

function busyCard(text, { student, interviewer: id }) {
  return { mode: "busy", text, student, interviewer: id && interviewerOf(id) };
}

function done(id, text) {
  renderDays();
  turn(id, null);
  announce(text);
}

function fail(id, card) {
  cards.set(id, { mode: "error", readsStarted, ...card });
  settleCard(id);
  turn(id, cards.get(id));
  if (card.problem.isOutage) awaitRecovery(card.problem);
}

// 422: the server has rejected one or more fields.
async function reject(id, form, problem) {
  const errors = explainErrors(problem, form.draft);
  if (errors.interviewer && form.draft.interviewer) {
    // The chosen interviewer has left, so the lists here are out of date.
    await reload().catch(() => {});
    form.draft.interviewer = null;
  }
  turn(id, { ...form, errors });
  announce(Object.values(errors).join(" "));
}

// 412: the appointment was meant to be free and is booked, or the other way round. The form
// stays as it is and says so.
async function miss(id, form, isRepeated) {
  const before = updateCounts.get(id);
  try {
    const appointments = await api.appointments();
    if (updateCounts.get(id) === before) storeInterview(id, appointments[id]?.interview ?? null);
  } catch (problem) {
    return failToSave(id, form, problem);
  }
  const stored = week.appointments[id].interview;
  renderDays();
  // The first attempt had been stored, and only its response was lost.
  if (isRepeated && isSame(stored, form.draft)) return done(id, `Saved: ${describe(stored)}.`);
  const notice = "Someone else booked first, but has cancelled. You can save now.";
  turn(id, { ...form, notice }); // the notice counts only if the appointment is free again
  announce(explainForm(id, cards.get(id), nextFreeFor(id)).notice);
  const item = itemOf(id);
  if (item?.contains(document.activeElement)) item.querySelector(".actions button").focus();
}

// Moves a form whose appointment somebody else has booked to the next free one.
function takeNextFree(id, { draft }) {
  const next = nextFreeFor(id);
  if (!next) return;
  const day = dayOf(next.id);
  const { name } = interviewerOf(draft.interviewer);
  const card = { mode: "form", of: null, draft };
  if (draft.interviewer && !day.interviewers.includes(draft.interviewer)) {
    const absent = `${name} is not available on ${day.name}. Choose someone else.`;
    card.draft = { ...draft, interviewer: null };
    card.errors = { interviewer: absent };
  }
  turn(id, null);
  turn(next.id, card);
  if (day.id !== currentDayId) {
    location.hash = `day-${day.id}`;
    renderAll();
  }
  focusFirst(next.id);
  announce(`The form is now for ${nameOf(next.id)}.`);
}

function openSettings() {
  at("settings").open = true;
  at("api").focus();
}

// Start-up

at("no-script").remove();
at("server").textContent = base;
at("api").value = base;
at("api-error").textContent = baseError;

addEventListener("hashchange", () => {
  if (week.days && renderAll()) announce(at("day-name").textContent);
});
at("days").addEventListener("scroll", showHiddenDays, { passive: true });
new ResizeObserver(showHiddenDays).observe(at("days"));

const STATES = { connecting: "Connecting…", live: "Live", reconnecting: "Reconnecting…" };
const live = follow(base, {
  reload,
  change,
  show(name) {
    at("connection").dataset.state = name;
    at("connection").textContent = STATES[name];
  },
});
// Not only when the WebSocket opens: a proxy may let HTTP through and no WebSockets.
await reload().catch(() => {});
if (baseError) openSettings();
