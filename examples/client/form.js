// A form's messages: about fields that the server has rejected, and about changes that somebody
// else has made to its appointment meanwhile.

import { dayOf, describe, isSame, nameOf, week } from "./week.js";

const MAX_STUDENT = 255;

// The server checks the rules and points to each invalid field. Its messages are generic, so
// each known field has its own instructions here.
const FIELDS = {
  "#/interview/student": {
    name: "student",
    explain({ student }) {
      if (!student.trim()) return "Enter the student’s name.";
      const { length } = [...student];
      if (length > MAX_STUDENT) {
        return `Shorten the name to ${MAX_STUDENT} characters. It has ${length}.`;
      }
      return "This name contains a character that cannot be saved. Type it again.";
    },
  },
  "#/interview/interviewer": {
    name: "interviewer",
    explain: ({ interviewer }) =>
      interviewer
        ? "This interviewer is no longer available. Choose someone else."
        : "Choose an interviewer.",
  },
};

// Returns the messages by field name. `form` has those that belong to no known field.
export function explainErrors(problem, draft) {
  const messages = {};
  const others = [];
  for (const { pointer, detail } of problem.errors) {
    const field = FIELDS[pointer];
    if (field) messages[field.name] = field.explain(draft);
    else others.push(detail);
  }
  if (!problem.errors.length) others.push(problem.message);
  if (others.length) messages.form = others.join(" ");
  return messages;
}

// Whether somebody else has booked the free appointment that a form was opened for.
export const isTaken = (id, { original }) => Boolean(!original && week.appointments[id].interview);

// The form's notice, and the label of its main button. If saving would fail, the button offers
// an alternative or is left out. `nextFree` is the next free appointment, or null.
export function explainForm(id, overlay, nextFree) {
  const { interview, time } = week.appointments[id];
  if (isTaken(id, overlay)) {
    const notice = `Someone else booked first. ${time} is now booked: ${describe(interview)}.`;
    return nextFree
      ? { notice, submitLabel: `Take ${nameOf(nextFree.id, dayOf(id))} instead` }
      : { notice: `${notice} No appointments are free this week.` };
  }
  if (overlay.original && !interview) {
    const notice = `Someone else has just cancelled this interview. ${time} is free now.`;
    return { notice, submitLabel: "Book it again" };
  }
  if (overlay.original && !isSame(overlay.original, interview)) {
    const notice =
      `Someone else has just changed this to ${describe(interview)}. ` +
      "Saving will overwrite it.";
    return { notice, submitLabel: "Save" };
  }
  return { notice: overlay.notice, submitLabel: "Save" };
}
