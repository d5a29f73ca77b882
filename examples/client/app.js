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
const byId = (id) => document.getElementById(id);

let currentDayId = null;
// What an appointment shows instead of its interview, by id: { mode, original, draft, … }.
const overlays = new Map();
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
  byId("problem").replaceChildren();
  for (const id of overlays.keys()) {
    removeObsoleteOverlay(id);
    dropError(id, number);
  }
  renderAll();
}

function showUnreadWeek(problem, isRequested) {
  const panel = byId("problem");
  // Every new connection reads the week again. Repeating the same alert would only distract.
  if (panel.hasChildNodes() && !isRequested) return;
  async function readAgain({ target }) {
    target.textContent = "Loading…";
    live.checkNow();
    try {
      await reload({ isRequested: true });
      byId("day-name").focus();
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
  byId("empty").textContent = "";
}

// While an error is on the screen, tries to read the lists until that works.
let recoveryTimer;

function awaitRecovery({ retryAfter }) {
  clearTimeout(recoveryTimer);
  const seconds = Number(retryAfter) || RECOVERY_INTERVAL;
  recoveryTimer = setTimeout(() => {
    const hasError = [...overlays.values()].some(({ mode }) => mode === "error");
    if (hasError || !week.days) reload().catch(() => {});
  }, seconds * 1000);
}

// Removes an error that is older than this read: the server responds again. If a form failed, it
// returns with everything that was typed.
function dropError(id, readNumber) {
  const overlay = overlays.get(id);
  if (overlay?.mode !== "error" || readNumber <= overlay.readsStarted) return;
  const notice = "The server is available again. This interview is not saved yet.";
  setOverlay(id, overlay.form && { ...overlay.form, notice });
  announce(overlay.form ? notice : "The server is available again.");
}

// Drawing

// Returns whether the page now shows another day than before.
function renderAll() {
  const { days } = week;
  const day = days.find(({ id }) => `#day-${id}` === location.hash) ?? days[0];
  const isOther = day?.id !== currentDayId;
  currentDayId = day?.id ?? null;
  document.title = day ? `${day.name} · ${TITLE}` : TITLE;
  byId("day-name").textContent = day?.name ?? "";
  const ids = day ? appointmentsOf(day).map(({ id }) => id) : [];
  const emptyText = day ? "There are no appointments on this day." : "The week is empty.";
  byId("empty").textContent = ids.length ? "" : emptyText;
  renderDays();
  if (isOther) {
    const current = byId("days").querySelector("[aria-current]");
    current?.scrollIntoView({ block: "nearest", inline: "center" });
  }
  const shown = [...byId("appointments").children].map((item) => Number(item.dataset.appointment));
  if (isOther || ids.join() !== shown.join()) {
    byId("appointments").replaceChildren(...ids.map(draw));
  } else ids.forEach(refresh);
  return isOther;
}

function renderDays() {
  const list = dayList(week.days, currentDayId, appointmentsOf);
  const old = byId("days").firstElementChild;
  if (!old) byId("days").append(list);
  else if (!old.isEqualNode(list)) replace(old, list);
  showHiddenDays();
}

// On a phone, the days are a strip that scrolls. Marks the ends at which days are hidden.
function showHiddenDays() {
  const { scrollLeft, clientWidth, scrollWidth } = byId("days");
  const ends = [scrollLeft > 1 && "start", scrollLeft + clientWidth < scrollWidth - 1 && "end"];
  byId("days").dataset.more = ends.filter(Boolean).join(" ");
}

function draw(id) {
  const appointment = week.appointments[id];
  const overlay = overlays.get(id) ?? {};
  return appointmentItem(
    {
      ...appointment,
      interviewer: interviewerOf(appointment.interview?.interviewer),
      choices: choicesFor(id),
      ...(overlay.mode === "form" && explainForm(id, overlay, nextFreeFor(id))),
    },
    overlay,
    act,
  );
}

const nextFreeFor = (id) => findNextFree(id, (other) => overlays.has(other));

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

// Gives an appointment another overlay, or none, and draws it.
function setOverlay(id, overlay) {
  if (overlay) overlays.set(id, overlay);
  else overlays.delete(id);
  const old = itemOf(id);
  if (old && week.appointments[id]) replace(old, draw(id));
}

function focusFirst(id) {
  itemOf(id)?.querySelector("[data-first]").focus();
}

function announce(text) {
  byId("announcement").textContent = text;
}

// Updates from the server

function applyUpdate(id, interview) {
  updateCounts.set(id, (updateCounts.get(id) ?? 0) + 1);
  for (const updates of updatesDuringReads) updates.set(id, interview);
  if (!week.days) return;
  const before = week.appointments[id]?.interview;
  storeInterview(id, interview);
  if (!week.appointments[id] || isSame(before, interview)) return;
  removeObsoleteOverlay(id);
  renderDays();
  refresh(id);
  // Forms that offer the next free appointment may have to offer another one now.
  for (const [other, { mode }] of overlays) if (mode === "form") refresh(other);
  if (overlays.get(id)?.mode === "busy") return; // this client's own change, announced when done
  itemOf(id)?.classList.add("changed");
  const name = nameOf(id);
  announce(interview ? `${name}: now ${describe(interview)}.` : `${name}: now free.`);
}

// Removes an overlay that is obsolete in the appointment's new state.
function removeObsoleteOverlay(id) {
  const overlay = overlays.get(id);
  if (!overlay) return;
  const interview = week.appointments[id]?.interview;
  if (overlay.mode === "error" && isSame(overlay.wanted, interview)) {
    overlays.delete(id); // the change was made, and only its response was lost
    return;
  }
  const isAboutInterview = ["confirm", "error"].includes(overlay.mode) && overlay.original;
  if (isAboutInterview && !isSame(overlay.original, interview)) {
    overlays.delete(id); // it is about an interview that no longer exists
  }
}

// User actions

const act = {
  open(id) {
    const { interview } = week.appointments[id];
    const draft = { student: "", interviewer: null, ...interview };
    setOverlay(id, { mode: "form", original: interview && { ...interview }, draft });
    focusFirst(id);
  },

  draft(id, name, value) {
    const overlay = overlays.get(id);
    if (overlay?.mode !== "form") return;
    overlay.draft[name] = name === "interviewer" ? Number(value) : value;
    // The messages were about the previous text.
    overlay.errors = { ...overlay.errors, [name]: "", form: "" };
    refresh(id);
  },

  ask(id) {
    setOverlay(id, { mode: "confirm", original: { ...week.appointments[id].interview } });
    focusFirst(id);
  },

  // Returns from an error to the form that failed.
  close(id) {
    setOverlay(id, overlays.get(id)?.form);
  },

  again(id) {
    overlays.get(id).repeat();
  },

  submit(id) {
    const overlay = overlays.get(id);
    if (isTaken(id, overlay)) return takeNextFree(id, overlay);
    const isCancelled = overlay.original && !week.appointments[id].interview;
    return save(id, { ...overlay, original: isCancelled ? null : overlay.original });
  },

  async cancel(id) {
    const { original } = overlays.get(id);
    const before = updateCounts.get(id);
    setOverlay(id, busyOverlay("Cancelling…", original));
    try {
      await api.cancel(id);
      if (updateCounts.get(id) === before) storeInterview(id, null);
      done(id, "Cancelled.");
    } catch (problem) {
      const text = `The interview of ${describe(original)} could not be cancelled.`;
      const repeat = () => act.cancel(id);
      fail(id, { text, problem, original, wanted: null, repeat });
    }
  },
};

async function save(id, { original, draft }, isRepeated = false) {
  const form = { mode: "form", original, draft };
  const interview = { ...draft };
  const before = updateCounts.get(id);
  setOverlay(id, busyOverlay("Saving…", interview));
  try {
    await (original ? api.edit : api.book)(id, interview);
    // An update that arrived meanwhile has the stored interview, which may be newer than this.
    if (updateCounts.get(id) === before) storeInterview(id, interview);
    done(id, `Saved: ${describe(interview)}.`);
  } catch (problem) {
    if (problem.status === 412) await handleConflict(id, form, isRepeated);
    else if (problem.status === 422) await reject(id, form, problem);
    else failToSave(id, form, problem);
  }
}

function failToSave(id, form, problem) {
  const wanted = form.draft;
  const text = `The interview of ${describe(wanted)} could not be saved.`;
  fail(id, { text, problem, form, wanted, repeat: () => save(id, form, true) });
}

function busyOverlay(text, { student, interviewer: id }) {
  return { mode: "busy", text, student, interviewer: id && interviewerOf(id) };
}

function done(id, text) {
  renderDays();
  setOverlay(id, null);
  announce(text);
}

function fail(id, overlay) {
  overlays.set(id, { mode: "error", readsStarted, ...overlay });
  removeObsoleteOverlay(id);
  setOverlay(id, overlays.get(id));
  if (overlay.problem.isOutage) awaitRecovery(overlay.problem);
}

// 422: the server has rejected one or more fields.
async function reject(id, form, problem) {
  const errors = explainErrors(problem, form.draft);
  if (errors.interviewer && form.draft.interviewer) {
    // The chosen interviewer has been removed, so the lists are out of date.
    await reload().catch(() => {});
    form.draft.interviewer = null;
  }
  setOverlay(id, { ...form, errors });
  announce(Object.values(errors).join(" "));
}

// 412: the appointment should be free and is booked, or should be booked and is free. The form
// stays open and explains it.
async function handleConflict(id, form, isRepeated) {
  const before = updateCounts.get(id);
  try {
    const appointments = await api.appointments();
    if (updateCounts.get(id) === before) storeInterview(id, appointments[id]?.interview ?? null);
  } catch (problem) {
    return failToSave(id, form, problem);
  }
  const stored = week.appointments[id].interview;
  renderDays();
  // The first attempt was stored, and only its response was lost.
  if (isRepeated && isSame(stored, form.draft)) return done(id, `Saved: ${describe(stored)}.`);
  // explainForm shows this notice only if the appointment is free again.
  const notice = "Someone else booked first, but has cancelled. You can save now.";
  setOverlay(id, { ...form, notice });
  announce(explainForm(id, overlays.get(id), nextFreeFor(id)).notice);
  const item = itemOf(id);
  if (item?.contains(document.activeElement)) item.querySelector(".actions button").focus();
}

// Moves a form whose appointment somebody else has booked to the next free one.
function takeNextFree(id, { draft }) {
  const next = nextFreeFor(id);
  if (!next) return;
  const day = dayOf(next.id);
  const { name } = interviewerOf(draft.interviewer);
  const overlay = { mode: "form", original: null, draft };
  if (draft.interviewer && !day.interviewers.includes(draft.interviewer)) {
    const absent = `${name} is not available on ${day.name}. Choose someone else.`;
    overlay.draft = { ...draft, interviewer: null };
    overlay.errors = { interviewer: absent };
  }
  setOverlay(id, null);
  setOverlay(next.id, overlay);
  if (day.id !== currentDayId) {
    location.hash = `day-${day.id}`;
    renderAll();
  }
  focusFirst(next.id);
  announce(`The form is now for ${nameOf(next.id)}.`);
}

function openSettings() {
  byId("settings").open = true;
  byId("api").focus();
}

// Start-up

byId("no-script").remove();
byId("server").textContent = base;
byId("api").value = base;
byId("api-error").textContent = baseError;

addEventListener("hashchange", () => {
  if (week.days && renderAll()) announce(byId("day-name").textContent);
});
byId("days").addEventListener("scroll", showHiddenDays, { passive: true });
new ResizeObserver(showHiddenDays).observe(byId("days"));

const STATES = { connecting: "Connecting…", live: "Live", reconnecting: "Reconnecting…" };
const live = follow(base, {
  reload,
  applyUpdate,
  show(name) {
    byId("connection").dataset.state = name;
    byId("connection").textContent = STATES[name];
  },
});
// Read the lists now, too: if a proxy blocks WebSockets, onopen is never called.
await reload().catch(() => {});
if (baseError) openSettings();
