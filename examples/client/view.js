// Rendering. Each function builds elements from data and changes nothing else.
// Data only ever becomes text or an attribute, never markup.

export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null && value !== false) {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...children.flat().filter((child) => child || child === 0));
  return element;
}

// `key` finds a button again after its appointment has been drawn again. `first` receives the
// focus.
export function button(label, key, onclick, { primary, danger, quiet, first, name } = {}) {
  return h(
    "button",
    {
      type: "button",
      class: (primary && "primary") || (danger && "danger") || (quiet && "quiet"),
      "data-key": key,
      "data-first": first,
      "aria-label": name,
      onclick,
    },
    label,
  );
}

// The days

const MOST_DOTS = 8;

function spotsText(day) {
  if (!day.appointments.length) return "no appointments";
  return `${day.spots || "no"} ${day.spots === 1 ? "spot" : "spots"} left`;
}

export function dayList(days, currentId, appointmentsOf) {
  return h(
    "ul",
    null,
    days.map((day) => {
      const appointments = appointmentsOf(day);
      return h(
        "li",
        null,
        h(
          "a",
          {
            href: `#day-${day.id}`,
            "data-key": `day-${day.id}`,
            "aria-current": day.id === currentId && "true",
            class: day.spots ? null : "full",
          },
          h("span", { class: "name" }, day.name),
          h("span", { class: "spots" }, spotsText(day)),
          appointments.length <= MOST_DOTS &&
            h(
              "span",
              { class: "dots", "aria-hidden": "true" },
              appointments.map(({ interview }) => h("i", { class: interview && "booked" })),
            ),
        ),
      );
    }),
  );
}

// People

// Avatars are paths on the client's own origin, and this client has no pictures.
function avatar(interviewer) {
  const words = interviewer.name.split(/\s+/).filter(Boolean);
  const initials = [...new Set([words.at(0), words.at(-1)])].map((word) => [...(word ?? "?")][0]);
  return h(
    "span",
    { class: "avatar", "data-hue": interviewer.id % 5, "aria-hidden": "true" },
    initials.join("").toUpperCase(),
  );
}

function people(student, interviewer) {
  return h(
    "div",
    { class: "people" },
    h("p", { class: "student" }, student),
    interviewer &&
      h(
        "p",
        { class: "interviewer" },
        avatar(interviewer),
        h("span", null, `with ${interviewer.name}`),
      ),
  );
}

// The appointments

// `appointment` is { id, time, interview, interviewer, choices, … }. `overlay` is what it shows
// instead of its interview: { mode, original, draft, … }.
export function appointmentItem(appointment, overlay, act) {
  const withoutOverlay = appointment.interview ? booked : free;
  const draw = { form, confirm, busy, error }[overlay.mode] ?? withoutOverlay;
  return h(
    "li",
    {
      class: "appointment",
      "data-appointment": appointment.id,
      "data-mode": draw.name,
      "aria-label": appointment.time,
      tabindex: "-1", // receives the focus if nothing inside can
    },
    h("h3", { class: "time" }, appointment.time),
    h("div", { class: "card" }, draw(appointment, overlay, act)),
  );
}

function free({ id, time }, overlay, act) {
  return [
    h("p", { class: "free" }, "Free"),
    h(
      "div",
      { class: "actions" },
      button("Book", "book", () => act.open(id), { first: true, name: `Book ${time}` }),
    ),
  ];
}

function booked({ id, time, interview, interviewer }, overlay, act) {
  const [edit, cancel] = ["Edit", "Cancel"].map((verb) => `${verb} ${interview.student}, ${time}`);
  return [
    people(interview.student, interviewer),
    h(
      "div",
      { class: "actions" },
      button("Edit", "edit", () => act.open(id), { quiet: true, first: true, name: edit }),
      button("Cancel", "cancel", () => act.ask(id), { quiet: true, name: cancel }),
    ),
  ];
}

function busy(appointment, { text, student, interviewer }) {
  const spinner = h("span", { class: "spinner", "aria-hidden": "true" });
  return [
    people(student, interviewer),
    h("p", { class: "busy", role: "status" }, spinner, text),
  ];
}

function confirm({ id, interview, interviewer }, overlay, act) {
  return h(
    "div",
    { class: "question", onkeydown: onEscape(() => act.close(id)) },
    h("p", null, `Cancel the interview of ${interview.student} with ${interviewer.name}?`),
    h(
      "div",
      { class: "actions" },
      button("Cancel interview", "confirm", () => act.cancel(id), { danger: true }),
      // It has the key of the button that asked, so that the focus returns there.
      button("Keep it", "cancel", () => act.close(id), { first: true }),
    ),
  );
}

function error({ id }, { text, problem }, act) {
  return failure(text, problem, [
    button("Try again", "again", () => act.again(id), { primary: true, first: true }),
    button("Close", "close", () => act.close(id)),
  ]);
}

export function failure(title, problem, buttons) {
  const facts = [
    problem.status && `Status ${problem.status}`,
    problem.retryAfter && `try again in ${problem.retryAfter} s`,
    problem.requestId && `request ${problem.requestId}`,
  ].filter(Boolean);
  return h(
    "div",
    { class: "failure", role: "alert" },
    h("p", null, h("strong", null, title)),
    h("p", null, problem.message),
    facts.length > 0 && h("p", { class: "facts" }, facts.join(" · ")),
    h("div", { class: "actions" }, buttons),
  );
}

function onEscape(action) {
  return (event) => {
    if (event.key === "Escape") action();
  };
}

// The form

function form(appointment, overlay, act) {
  const { id, choices, notice, submitLabel } = appointment;
  const { draft, errors = {} } = overlay;
  const ids = { student: `student-${id}`, interviewer: `interviewer-${id}` };

  return h(
    "form",
    {
      class: "edit",
      // The server has the rules. It reports which field broke one.
      novalidate: true,
      oninput: ({ target }) => act.draft(id, target.name, target.value),
      onsubmit: (event) => {
        event.preventDefault();
        act.submit(id);
      },
      onkeydown: onEscape(() => act.close(id)),
    },
    h("p", { class: "notice", role: "status", "data-part": "notice" }, notice),
    message("form", errors.form),
    h(
      "div",
      { class: "field" },
      h("label", { for: ids.student }, "Student"),
      h("input", {
        id: ids.student,
        name: "student",
        value: draft.student,
        autocomplete: "off",
        placeholder: "Full name",
        "aria-invalid": Boolean(errors.student) && "true",
        "aria-describedby": `${ids.student}-error`,
        "data-key": "student",
        "data-first": Boolean(errors.student) || !errors.interviewer,
      }),
      message("student", errors.student, `${ids.student}-error`),
    ),
    h(
      "fieldset",
      { class: "field", "aria-describedby": `${ids.interviewer}-error` },
      h("legend", null, "Interviewer"),
      h(
        "div",
        { class: "choices" },
        choices.map((choice, index) =>
          h(
            "label",
            { class: "choice" },
            h("input", {
              type: "radio",
              name: "interviewer",
              value: choice.id,
              checked: choice.id === draft.interviewer,
              "data-key": `interviewer-${choice.id}`,
              "data-first": index === 0 && Boolean(errors.interviewer) && !errors.student,
            }),
            avatar(choice),
            h("span", null, choice.name),
          ),
        ),
        !choices.length && h("p", { class: "hint" }, "There are no interviewers on this day."),
      ),
      message("interviewer", errors.interviewer, `${ids.interviewer}-error`),
    ),
    h(
      "div",
      { class: "actions", "data-part": "actions" },
      submitLabel && h("button", { class: "primary", "data-key": "submit" }, submitLabel),
      button("Back", "back", () => act.close(id)),
    ),
  );
}

function message(part, text, id) {
  return h("p", { class: "error", id, "data-part": `${part}-error` }, text);
}

// Updates the messages and buttons of a form, but not its fields: somebody may be typing.
export function updateForm(shown, fresh) {
  for (const part of fresh.querySelectorAll("[data-part]")) {
    const old = shown.querySelector(`[data-part="${part.dataset.part}"]`);
    if (!old.isEqualNode(part)) old.replaceChildren(...part.childNodes);
  }
  const [input, freshInput] = [shown, fresh].map((each) => each.querySelector("[name=student]"));
  if (!freshInput.hasAttribute("aria-invalid")) input.removeAttribute("aria-invalid");
}
