// The week: the API's three lists, and what follows from them. Draws and sends nothing.

export const week = {
  days: null, // until the lists have been read
  appointments: {},
  interviewers: {},
};

export function storeLists(days, appointments, interviewers) {
  Object.assign(week, { days, appointments, interviewers });
}

// Sets or removes (null) an appointment's interview.
export function storeInterview(id, interview) {
  if (!week.appointments[id]) return;
  week.appointments[id].interview = interview;
  const day = dayOf(id);
  if (day) day.spots = appointmentsOf(day).filter((each) => !each.interview).length;
}

export const appointmentsOf = (day) =>
  day.appointments.map((id) => week.appointments[id]).filter(Boolean);

export const dayOf = (id) => week.days.find((day) => day.appointments.includes(id));

export const interviewerOf = (id) =>
  week.interviewers[id] ?? { id, name: id ? `interviewer ${id}` : "nobody" };

export const describe = ({ student, interviewer: id }) =>
  `${student} with ${interviewerOf(id).name}`;

export const isSame = (one, other) =>
  one?.student === other?.student && one?.interviewer === other?.interviewer;

// The interviewers of the day, and the current one even if they are not on that list now.
export function choicesFor(id) {
  const ids = new Set(dayOf(id).interviewers);
  const current = week.appointments[id].interview?.interviewer;
  if (current) ids.add(current);
  return [...ids].map(interviewerOf);
}

// The next free appointment of the week. After the last one, the search continues with the first.
export function findNextFree(id, isExcluded) {
  const all = week.days.flatMap(appointmentsOf);
  const index = all.findIndex((each) => each.id === id);
  const inOrder = [...all.slice(index + 1), ...all.slice(0, index)];
  return inOrder.find((each) => !each.interview && !isExcluded(each.id)) ?? null;
}

// "3pm", or "Tuesday 3pm" if it is on another day than the one given.
export function nameOf(id, day = null) {
  const itsDay = dayOf(id);
  const { time } = week.appointments[id];
  return itsDay && itsDay !== day ? `${itsDay.name} ${time}` : time;
}
