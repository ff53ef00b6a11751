"use strict";
// One job, live. The job is read once, and again when it has ended; everything between is told by the feed, from the
// beginning of the log, so that a page opened late shows the same as one that was there. What others wrote (names,
// failures, metadata) goes into text nodes alone. Protocol: docs/feed.md.

const ID = decodeURIComponent(location.pathname.split("/").filter(Boolean).pop());
const API = new URL("../", location.href); // wherever the application is mounted
const SLOT = "orchestrator-key";
const ENDED = ["completed", "failed", "canceled"];
const WORDS = {
  submitted: "Submitted", ready: "Waiting", started: "Running", completed: "Completed", failed: "Failed",
  canceled: "Canceled",
};
const MOST_BARS = 12, MOST_HISTOGRAMS = 8;

const at = id => document.getElementById(id);
let key = null, job = null, cursor = "earliest", failures = 0, socket = null;
let seen = fresh();

/** What the feed has told: when each status was reached, how far it is, its place in line, its children. */
function fresh() {
  return { times: {}, status: null, attempt: 0, progress: null, place: null, children: new Map(), deleted: false };
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}
function show(id, visible) { at(id).hidden = !visible; }

// -- times ------------------------------------------------------------------------------------------------------------

function span(ms) {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
  const minutes = Math.round(ms / 60_000);
  return minutes < 90 ? `${minutes} min` : `${(ms / 3_600_000).toFixed(1)} h`;
}
function about(ms) { // of what is only predicted nobody wants milliseconds
  if (ms < 1500) return "a moment";
  return ms < 90_000 ? `${Math.round(ms / 1000)} s` : span(ms);
}
function clock(ms) { return new Date(ms).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" }); }

// -- drawing ----------------------------------------------------------------------------------------------------------

function draw() {
  if (job === null) return;
  const status = seen.status ?? job.status;
  document.title = `${WORDS[status]} · ${job.name ?? "job"}`;
  at("status").className = `pill ${status}`;
  at("status").textContent = seen.deleted ? "Deleted" : WORDS[status];
  at("attempt").textContent = seen.attempt > 1 ? `attempt ${seen.attempt}` : "";
  at("name").textContent = job.name ?? "Job";
  at("id").textContent = job.id;
  show("cancel", !ENDED.includes(status) && !seen.deleted);
  show("failure", job.failure != null);
  at("code").textContent = job.failure?.code ?? "";
  at("message").textContent = job.failure?.message ?? "";
  steps(status);
  children();
  facts();
  progress();
}

function steps(status) {
  const { times } = seen;
  const end = ENDED.includes(status) ? status : null;
  const begun = times.submitted ?? Date.parse(job.submitted_at);
  const rows = [["submitted", "Submitted"], ["ready", "Ready"], ["started", "Started"], [end, end ? WORDS[end] : "Ended"]];
  at("steps").replaceChildren(...rows.map(([name, word]) => {
    const when = times[name] ?? (name === end && end ? Date.parse(job.completed_at) || undefined : undefined);
    const row = element("li", when === undefined ? "" : `done ${name === end ? end : ""}`);
    row.append(element("b", "", word));
    if (when !== undefined) {
      const time = element("time", "", name === "submitted" ? new Date(when).toLocaleTimeString() : `+ ${span(when - begun)}`);
      time.title = clock(when);
      row.append(time);
    }
    return row;
  }));
}

/** The bar and the estimate; drawn again every second, since what is left grows less without news. */
function progress() {
  if (job === null) return;
  const status = seen.status ?? job.status;
  const active = !ENDED.includes(status) && !seen.deleted;
  const { place, progress: part, times } = seen;
  show("progress", active && (status === "started" || place !== null));
  at("bar").style.width = `${100 * (status === "started" ? part?.fraction ?? 0 : 0)}%`;
  const said = [];
  if (status !== "started" && place !== null) {
    said.push(place.position === 1 ? "next in line" : `${place.position} in line`);
    const wait = place.estimated_start === null ? null : place.estimated_start - Date.now();
    if (wait !== null) said.push(`starts in about ${about(Math.max(0, wait))}`);
  } else if (status === "started" && part === null) {
    if (times.started) said.push(`running for ${about(Date.now() - times.started)}`);
  } else if (status === "started") {
    said.push(part.total ? `${part.done} of ${part.total} circuits` : `${Math.round(100 * part.fraction)} %`);
    if (part.fraction > 0 && part.fraction < 1 && times.started) {
      const left = (part.at - times.started) * (1 / part.fraction - 1) - (Date.now() - part.at);
      said.push(`about ${about(Math.max(0, left))} left`);
    }
  }
  at("eta").textContent = said.join(" · ");
}

function children() {
  const ids = job.child_job_ids ?? [...seen.children.keys()];
  show("family", ids.length > 0);
  at("circuits").textContent = `${ids.length} circuits`;
  const shown = at("children");
  ids.forEach((id, n) => {
    const link = shown.children[n] ?? shown.appendChild(element("a", "", `${n + 1}`));
    const status = seen.children.get(id) ?? "submitted";
    link.href = `../jobs/${encodeURIComponent(id)}`;
    link.className = status;
    link.title = `${WORDS[status]} · ${id}`;
  });
}

function facts() {
  const { stats = {}, noise } = job;
  const gates = stats.gate_counts ?? {};
  const rows = [
    ["Backend", job.backend],
    ["Shots", job.dry_run ? "dry run" : job.shots?.toLocaleString()],
    ["Qubits", stats.qubits],
    ["Gates", gates["1q"] === undefined ? null : `${gates["1q"]} one-qubit, ${gates["2q"]} two-qubit`],
    ["Noise", noise?.model && noise.model !== "ideal" ? noise.model : null],
    ["Execution", job.execution_duration_ms == null || job.status !== "completed" ? null : span(job.execution_duration_ms)],
    ["Submitted", clock(Date.parse(job.submitted_at))],
    ...(job.warning?.messages ?? []).map(text => ["Warning", text]),
    ...Object.entries(job.metadata ?? {}),
  ];
  at("facts").replaceChildren(...rows.filter(([, value]) => value != null && value !== "").flatMap(
    ([label, value]) => [element("dt", "", label), element("dd", "", String(value))]));
  if (job.parent_job_id) {
    const link = element("a", "mono", job.parent_job_id), value = element("dd");
    link.href = `../jobs/${encodeURIComponent(job.parent_job_id)}`;
    value.append(link);
    at("facts").append(element("dt", "", "Part of"), value);
  }
}

/** The share of the shots that each outcome had. */
function shares(probabilities, counts) {
  const shots = Object.values(counts).reduce((total, count) => total + count, 0) || 1;
  const outcomes = Object.keys({ ...probabilities, ...counts });
  return Object.fromEntries(outcomes.map(outcome => [outcome, (counts[outcome] ?? 0) / shots]));
}

/** A histogram as rows of a grid: outcome (qubit 0 rightmost), bar, value; of what was counted, if it was. */
function bars(exact, counts, qubits) {
  const probabilities = counts === null ? exact : shares(exact, counts);
  const all = Object.keys(probabilities).map(BigInt);
  const order = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  let shown = all.sort(order);
  if (all.length > MOST_BARS) {
    shown = [...all].sort((a, b) => probabilities[b] - probabilities[a] || order(a, b)).slice(0, MOST_BARS - 1).sort(order);
  }
  const rows = shown.map(outcome => ({
    label: qubits <= 32 ? outcome.toString(2).padStart(qubits, "0") : shortened(outcome.toString()),
    probability: probabilities[outcome], count: counts === null ? null : counts[outcome] ?? 0, rest: false,
  }));
  if (shown.length < all.length) {
    const sum = rows.reduce((total, row) => total + row.probability, 0);
    rows.push({ label: `${all.length - shown.length} others`, probability: Math.max(0, 1 - sum), count: null, rest: true });
  }
  const most = Math.max(...rows.map(row => row.probability), Number.MIN_VALUE);
  return rows.flatMap(row => {
    const fill = element("div", row.rest ? "fill rest" : "fill");
    fill.style.width = `${100 * row.probability / most}%`;
    const share = row.probability > 0 && row.probability < 0.0005 ? "<0.1 %" : `${(100 * row.probability).toFixed(1)} %`;
    const value = row.count === null ? share : `${share}  ·  ${row.count.toLocaleString()}`;
    return [element("span", "mono", row.label), fill, element("span", "value", value)];
  });
}
function shortened(text) { return text.length <= 32 ? text : `${text.slice(0, 14)}…${text.slice(-14)}`; }

async function result() {
  const ready = job.status === "completed" && job.results;
  if (!ready) { show("result", false); return; }
  const rows = [], base = `v0.4/jobs/${encodeURIComponent(ID)}/results`;
  if (job.child_job_ids) {
    if (job.child_job_ids.length > MOST_HISTOGRAMS) return;
    const many = await ask(`${base}/probabilities/aggregated`);
    job.child_job_ids.forEach((id, n) => {
      const head = element("strong", "small", `Circuit ${n + 1}`);
      rows.push(head, element("span"), element("span"), ...bars(many[id] ?? {}, null, job.stats?.qubits ?? 1));
    });
  } else {
    const probabilities = await ask(`${base}/probabilities`);
    const counts = job.results.histogram ? await ask(`${base}/histogram`) : null;
    rows.push(...bars(probabilities, counts, job.stats?.qubits ?? 1));
  }
  at("bars").replaceChildren(...rows);
  show("result", true);
}

// -- asking -----------------------------------------------------------------------------------------------------------

class Refused extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

async function ask(path, method = "GET") {
  const answer = await fetch(new URL(path, API), { method, headers: { Authorization: `apiKey ${key}` }, cache: "no-store" });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, body.message ?? `HTTP ${answer.status}`);
  return body;
}

async function read() {
  job = await ask(`v0.4/jobs/${encodeURIComponent(ID)}`);
  if (seen.status === null || ENDED.includes(job.status)) seen.status = job.status;
  draw();
  await result();
}

// -- the feed ---------------------------------------------------------------------------------------------------------

const frames = {
  live() { feed("live", "live"); failures = 0; },
  queue({ job_id: id, position, estimated_start }) {
    if (id !== ID) return;
    seen.place = { position, estimated_start };
    progress();
  },
  gap({ snapshot }) { // what came before is gone: this is where things stand
    for (const known of snapshot.jobs) {
      if (known.id !== ID) { seen.children.set(known.id, known.status); continue; }
      seen.status = known.status;
      Object.assign(seen.times, { submitted: known.submitted_at, started: known.started_at ?? undefined });
      if (ENDED.includes(known.status)) seen.times[known.status] = known.completed_at;
    }
    draw();
  },
  event({ kind, job_id: id, to, attempt, at: when, data }) {
    if (id !== ID) {
      if (to) seen.children.set(id, to);
      later();
      return;
    }
    if (kind === "job.deleted") { seen.deleted = true; draw(); return; }
    seen.attempt = attempt;
    if (kind === "job.progress") {
      const fraction = data?.fraction ?? (data?.total ? data.done / data.total : 0);
      seen.progress = { fraction, done: data?.done, total: data?.total, at: when };
    } else if (to) {
      if (kind === "job.requeued") { delete seen.times.started; seen.progress = null; }
      seen.times[to] = when;
      seen.status = to;
      if (to !== "ready") seen.place = null;
      if (ENDED.includes(to) && job?.status !== to) read().catch(failed);
    }
    later();
  },
};

let waiting = false;
/** Draw once for all that comes together. No animation frame: a hidden tab gets none, and its title should tell. */
function later() {
  if (waiting) return;
  waiting = true;
  setTimeout(() => { waiting = false; draw(); }, 20);
}

async function follow() {
  const { ticket } = await ask("events/v1/tickets", "POST");
  const url = new URL(`events/v1?${new URLSearchParams({ ticket, cursor, job: ID, queue: "true" })}`, API);
  url.protocol = url.protocol.replace("http", "ws");
  const mine = socket = new WebSocket(url);
  let opened = false;
  mine.onopen = () => { opened = true; };
  mine.onmessage = ({ data }) => {
    if (mine !== socket) return;
    const frame = JSON.parse(data);
    frames[frame.type]?.(frame);
    cursor = frame.cursor ?? cursor;
  };
  mine.onclose = ({ code, reason }) => {
    if (mine !== socket) return;
    if (code === 4401) { entry("This key was revoked."); return; }
    if (code === 4408 || code === 4410) cursor = reason;
    else if (!opened) { cursor = "earliest"; seen = fresh(); } // perhaps another log, whose cursors this one does not know
    again();
  };
}
function again() { // full jitter: a server that comes back is not met by everyone at once
  feed("", "connecting again…");
  setTimeout(() => { if (key !== null) follow().catch(failed); }, Math.random() * Math.min(30_000, 500 * 2 ** failures++));
}
function failed(error) {
  if (error.status === 401) entry("This key is not valid.");
  else again();
}
function feed(state, text) {
  at("feed").className = `feed ${state}`;
  at("feed").textContent = text;
}

// -- coming in, and what a person can do --------------------------------------------------------------------------------

function entry(refusal = "") {
  const old = socket;
  [key, job, socket, cursor, seen] = [null, null, null, "earliest", fresh()];
  old?.close();
  sessionStorage.removeItem(SLOT);
  document.title = "Open a job";
  at("wanted").textContent = ID;
  at("refusal").textContent = refusal;
  show("refusal", refusal !== "");
  show("entry", true);
  for (const id of ["job", "result", "forget"]) show(id, false);
  feed("", "");
  at("key").value = "";
  at("key").focus();
}

async function open(given) {
  key = given;
  try {
    await read();
  } catch (error) {
    const known = { 401: "This key is not valid.", 404: "This key's project has no such job." };
    entry(known[error.status] ?? `The server does not answer: ${error.message}`);
    return;
  }
  sessionStorage.setItem(SLOT, key);
  show("entry", false);
  for (const id of ["job", "forget"]) show(id, true);
  await follow().catch(failed);
}

at("entry").onsubmit = event => {
  event.preventDefault();
  show("refusal", false);
  open(at("key").value.trim());
};
at("forget").onclick = () => entry();
at("cancel").onclick = async ({ target }) => {
  if (!target.classList.contains("sure")) { // asked twice, since nothing brings a canceled job back
    target.classList.add("sure");
    target.textContent = "Really cancel?";
    setTimeout(() => { target.classList.remove("sure"); target.textContent = "Cancel job"; }, 4000);
    return;
  }
  target.disabled = true;
  try {
    await ask(`v0.4/jobs/${encodeURIComponent(ID)}/status/cancel`, "PUT");
  } catch (error) {
    feed("", `not canceled: ${error.message}`);
  }
  target.disabled = false;
};
setInterval(progress, 1000);

const kept = sessionStorage.getItem(SLOT);
if (kept === null) entry();
else open(kept);
