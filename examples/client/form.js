// What a form says: about fields that the server has rejected, and about what somebody else
// has done to its appointment meanwhile.

import { dayOf, describe, isSame, nameOf, week } from "./week.js";

const MAX_STUDENT = 255;

// The server has the rules and points to the field that breaks one. Its messages are generic:
// here each known field has its own instructions.
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

// The messages by field name; `form` has what belongs to no known field.
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
export const isTaken = (id, { of }) => Boolean(!of && week.appointments[id].interview);

// The form's notice, and its main button (if saving can only fail, another one or none).
// `nextFree` is the next free appointment, or null.
export function explainForm(id, card, nextFree) {
  const { interview, time } = week.appointments[id];
  if (isTaken(id, card)) {
    const notice = `Someone else booked first. ${time} is now booked: ${describe(interview)}.`;
    return nextFree
      ? { notice, submitLabel: `Take ${nameOf(nextFree.id, dayOf(id))} instead` }
      : { notice: `${notice} No appointments are free this week.` };
  }
  if (card.of && !interview) {
    const notice = `Someone else has just cancelled this interview. ${time} is free now.`;
    return { notice, submitLabel: "Book it again" };
  }
  if (card.of && !isSame(card.of, interview)) {
    const notice =
      `Someone else has just changed this to ${describe(interview)}. ` +
      "Saving will overwrite it.";
    return { notice, submitLabel: "Save" };
  }
  return { notice: card.notice, submitLabel: "Save" };
}
