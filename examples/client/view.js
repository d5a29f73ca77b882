// What is seen: each function builds elements from data and changes nothing else.
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

// `key` finds a control again after its slot was drawn anew; the `first` one gets the focus.
function button(label, key, onclick, { primary, danger, first, name } = {}) {
  return h(
    "button",
    {
      type: "button",
      class: (primary && "primary") || (danger && "danger"),
      "data-key": key,
      "data-first": first,
      "aria-label": name,
      onclick,
    },
    label,
  );
}

function spotsText(day) {
  if (!day.appointments.length) return "no slots";
  return `${day.spots || "no"} ${day.spots === 1 ? "spot" : "spots"} left`;
}

export function dayList(days, current) {
  return h(
    "ul",
    null,
    days.map((day) =>
      h(
        "li",
        null,
        h(
          "a",
          {
            href: `#day-${day.id}`,
            "data-key": `day-${day.id}`,
            "aria-current": day.id === current && "true",
            class: day.spots ? null : "full",
          },
          h("span", { class: "name" }, day.name),
          h("span", { class: "spots" }, spotsText(day)),
        ),
      ),
    ),
  );
}

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

// `slot` is { id, time, interview, interviewer, choices }; `card` says what it shows of it.
export function slotItem(slot, card, act) {
  const asItIs = slot.interview ? booked : free;
  const draw = { form, confirm, busy, error, missed }[card.mode] ?? asItIs;
  return h(
    "li",
    {
      class: "slot",
      "data-slot": slot.id,
      "data-mode": draw.name,
      "aria-label": slot.time,
      tabindex: "-1", // holds the focus while nothing in it can
    },
    h("h3", { class: "time" }, slot.time),
    h("div", { class: "card" }, draw(slot, card, act)),
  );
}

function free({ id, time }, card, act) {
  return [
    h("p", { class: "free" }, "Free"),
    h(
      "div",
      { class: "actions" },
      button("Book", "book", () => act.open(id), { first: true, name: `Book ${time}` }),
    ),
  ];
}

function booked({ id, time, interview, interviewer }, card, act) {
  const what = `${interview.student}, ${time}`;
  return [
    h(
      "div",
      { class: "who" },
      avatar(interviewer),
      h(
        "div",
        null,
        h("p", { class: "student" }, interview.student),
        h("p", { class: "interviewer" }, `with ${interviewer.name}`),
      ),
    ),
    h(
      "div",
      { class: "actions" },
      button("Edit", "edit", () => act.open(id), { first: true, name: `Edit ${what}` }),
      button("Cancel", "cancel", () => act.ask(id), { name: `Cancel ${what}` }),
    ),
  ];
}

function form(slot, card, act) {
  const { draft, errors = [] } = card;
  const fields = ["#/interview/student", "#/interview/interviewer"];
  const details = (has) => errors.filter(({ pointer }) => has(pointer)).map(({ detail }) => detail);
  const [student, interviewer] = fields.map((field) => details((pointer) => pointer === field));
  const other = details((pointer) => !fields.includes(pointer));
  const ids = { student: `student-${slot.id}`, interviewer: `interviewer-${slot.id}` };

  return h(
    "form",
    {
      class: "edit",
      // The server has the rules and says which one was broken, and where.
      novalidate: true,
      oninput: ({ target }) => act.draft(slot.id, target.name, target.value),
      onsubmit: (event) => {
        event.preventDefault();
        act.save(slot.id);
      },
      onkeydown: (event) => {
        if (event.key === "Escape") act.close(slot.id);
      },
    },
    h("p", { class: "notice", role: "status" }, card.notice),
    message(null, other),
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
        "aria-invalid": student.length > 0 && "true",
        "aria-describedby": `${ids.student}-error`,
        "data-key": "student",
        "data-first": !interviewer.length || student.length > 0,
      }),
      message(`${ids.student}-error`, student),
    ),
    h(
      "fieldset",
      { class: "field", "aria-describedby": `${ids.interviewer}-error` },
      h("legend", null, "Interviewer"),
      h(
        "div",
        { class: "choices" },
        slot.choices.map((choice, index) =>
          h(
            "label",
            { class: "choice" },
            h("input", {
              type: "radio",
              name: "interviewer",
              value: choice.id,
              checked: choice.id === draft.interviewer,
              "data-key": `interviewer-${choice.id}`,
              "data-first": interviewer.length > 0 && !student.length && index === 0,
            }),
            avatar(choice),
            h("span", null, choice.name),
          ),
        ),
        !slot.choices.length && h("p", { class: "hint" }, "Nobody interviews on this day."),
      ),
      message(`${ids.interviewer}-error`, interviewer),
    ),
    h(
      "div",
      { class: "actions" },
      h("button", { class: "primary", "data-key": "save" }, "Save"),
      button("Back", "back", () => act.close(slot.id)),
    ),
  );
}

function message(id, details) {
  return h("p", { class: "error", id }, details.join(" "));
}

function confirm(slot, card, act) {
  const { student } = slot.interview;
  return h(
    "div",
    {
      class: "ask",
      onkeydown: (event) => {
        if (event.key === "Escape") act.close(slot.id);
      },
    },
    h("p", null, `Cancel the interview of ${student} with ${slot.interviewer.name}?`),
    h(
      "div",
      { class: "actions" },
      button("Cancel interview", "confirm", () => act.cancel(slot.id), { danger: true }),
      // The key of the button that asked: the focus goes back to it.
      button("Keep it", "cancel", () => act.close(slot.id), { first: true }),
    ),
  );
}

function busy(slot, card) {
  const spinner = h("span", { class: "spinner", "aria-hidden": "true" });
  return h("p", { class: "busy", role: "status" }, spinner, card.text);
}

function error(slot, card, act) {
  return failure(card.text, card.error, [
    button("Try again", "again", () => act.again(slot.id), { primary: true, first: true }),
    button("Close", "close", () => act.close(slot.id)),
  ]);
}

// The slot was not as the request asked (412): somebody else has been there.
function missed(slot, card, act) {
  return h(
    "div",
    { class: "ask" },
    h("p", null, h("strong", null, card.text)),
    h("p", null, card.detail),
    h(
      "div",
      { class: "actions" },
      !slot.interview && button("Book it", "again", () => act.open(slot.id), { primary: true }),
      button("Close", "close", () => act.dismiss(slot.id), { first: true }),
    ),
  );
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
