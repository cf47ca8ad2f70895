// What the page shows it asks the gateway for, every two seconds, with the token of whoever looks. The token is in this
// page's memory and in sessionStorage, which ends with the tab. All text goes in as text.
"use strict";

const EVERY_MS = 2000;
const HISTORY = 90;
const byId = (id) => document.getElementById(id);
let token = sessionStorage.getItem("token") || "";
let mayOperate = true;
let before = null;
let newestEvent = 0;
let timer = 0;
// Counts who has come and gone: what was asked for one is not shown to the next.
let visit = 0;
const history = { connections: [], in: [], out: [], bad: [] };

async function ask(method, path, body) {
  const headers = { Authorization: `Bearer ${token}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), cache: "no-store" });
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    const error = new Error(problem.detail || `The gateway answered ${answer.status}.`);
    error.status = answer.status;
    throw error;
  }
  return answer;
}
const json = async (path) => (await ask("GET", path)).json();

// OpenMetrics text to a list of { name, labels, value }.
function parsed(text) {
  const samples = [];
  for (const line of text.split("\n")) {
    const found = /^([a-z_]+)(?:\{(.*)\})? (\S+)/.exec(line);
    if (!found || line.startsWith("#")) continue;
    const labels = {};
    for (const label of (found[2] || "").matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"/g)) labels[label[1]] = label[2].replace(/\\(.)/g, "$1");
    samples.push({ name: found[1], labels, value: Number(found[3]) });
  }
  return samples;
}

const sum = (samples, name, want = {}) =>
  samples
    .filter((sample) => sample.name === name && Object.entries(want).every(([key, value]) => sample.labels[key] === value))
    .reduce((total, sample) => total + sample.value, 0);

const QUIET = [
  "closed_by_client", "closed_by_application", "connection_lost", "draining", "route_changed", "upstream_draining", "idle_timeout", "session_time_exceeded",
  "session_ended", "session_replaced",
];
const isMessage = (sample) => sample.labels.kind === "text" || sample.labels.kind === "binary";
const messages = (samples, direction, route) =>
  samples
    .filter((sample) => sample.name === "drawgate_messages_total" && sample.labels.direction === direction && isMessage(sample))
    .filter((sample) => route === undefined || sample.labels.route === route)
    .reduce((total, sample) => total + sample.value, 0);
const bad = (samples) =>
  samples
    .filter((sample) => sample.name === "drawgate_ends_total" && !QUIET.includes(sample.labels.reason))
    .reduce((total, sample) => total + sample.value, 0) + sum(samples, "drawgate_messages_refused_total");

function short(number) {
  if (number >= 1e6) return `${(number / 1e6).toFixed(1)} M`;
  if (number >= 1e4) return `${(number / 1e3).toFixed(1)} k`;
  return number >= 10 || Number.isInteger(number) ? String(Math.round(number)) : number.toFixed(1);
}

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  if (className) made.className = className;
  return made;
}
const cell = (text, className) => {
  const made = element("td", text, className);
  if (className === "text") made.title = text;
  return made;
};

function fill(body, rows, columns, none) {
  if (rows.length === 0) {
    const row = element("tr", undefined, "none");
    const only = element("td", none);
    only.colSpan = columns;
    row.append(only);
    rows = [row];
  }
  body.replaceChildren(...rows);
}

function draw(canvas, values) {
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = width * scale;
  canvas.height = height * scale;
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  const most = Math.max(1, ...values) * 1.15;
  const x = (place) => width - ((values.length - 1 - place) * width) / (HISTORY - 1);
  const y = (value) => height - 1 - (value / most) * (height - 4);
  pen.beginPath();
  values.forEach((value, place) => (place === 0 ? pen.moveTo(x(0), y(value)) : pen.lineTo(x(place), y(value))));
  pen.strokeStyle = getComputedStyle(canvas).color;
  pen.lineWidth = 1.6;
  pen.lineJoin = "round";
  pen.stroke();
  pen.lineTo(x(values.length - 1), height);
  pen.lineTo(x(0), height);
  pen.globalAlpha = 0.13;
  pen.fillStyle = pen.strokeStyle;
  pen.fill();
}

function tile(name, value) {
  const values = history[name];
  values.push(value);
  if (values.length > HISTORY) values.shift();
  byId(`n-${name}`).textContent = short(value);
  draw(byId(`c-${name}`), values);
}

function showMetrics(samples, at) {
  const seconds = before ? Math.max(0.1, (at - before.at) / 1000) : 0;
  const rate = (count) => (before ? Math.max(0, (count(samples) - count(before.samples)) / seconds) : 0);
  tile("connections", sum(samples, "drawgate_connections"));
  tile("in", rate((of) => messages(of, "in")));
  tile("out", rate((of) => messages(of, "out")));
  tile("bad", rate(bad));

  const routes = samples.filter((sample) => sample.name === "drawgate_connections").map((sample) => sample.labels.route).sort();
  fill(
    byId("routes"),
    routes.filter((route) => route !== "none").map((route) => {
      const row = element("tr");
      row.append(
        cell(route),
        cell(short(sum(samples, "drawgate_connections", { route })), "r"),
        cell(short(sum(samples, "drawgate_sessions", { route })), "r"),
        cell(short(rate((of) => messages(of, "in", route))), "r"),
        cell(short(rate((of) => messages(of, "out", route))), "r"),
        cell(short(sum(samples, "drawgate_messages_refused_total", { route })), "r"),
      );
      return row;
    }),
    6,
    "No route has had a connection yet.",
  );

  fill(
    byId("upstreams"),
    samples.filter((sample) => sample.name === "drawgate_upstream_connections").map(({ labels, value }) => {
      const is = (family) => sum(samples, `drawgate_upstream_${family}`, labels) > 0;
      const state = is("drained") ? "drained" : is("unhealthy") ? "unhealthy" : is("ejected") ? "left alone" : "in use";
      const failed = sum(samples, "drawgate_upstream_dials_total", { ...labels, result: "failed" });
      const row = element("tr");
      row.append(
        cell(labels.upstream, "text"),
        cell(state, state === "in use" ? "good" : state === "drained" ? "warn" : "failed"),
        cell(labels.route),
        cell(short(value), "r"),
        cell(short(failed), failed > 0 ? "r warn" : "r"),
      );
      return row;
    }),
    5,
    "No route leads to an application behind the gate.",
  );

  const reasons = new Map();
  for (const { name, labels, value } of samples) {
    if (name === "drawgate_ends_total" && value > 0) reasons.set(labels.reason, (reasons.get(labels.reason) || 0) + value);
  }
  const sorted = [...reasons].sort((one, other) => other[1] - one[1]).slice(0, 12);
  byId("reasons").replaceChildren(
    ...sorted.map(([reason, count]) => {
      const item = element("li", undefined, QUIET.includes(reason) ? "" : "fault");
      const meter = element("meter");
      meter.max = sorted[0][1];
      meter.value = count;
      item.append(element("span", reason), element("span", short(count)), meter);
      return item;
    }),
    ...(sorted.length === 0 ? [element("li", "No connection has ended yet.", "quiet")] : []),
  );
  before = { samples, at };
}

function showEvents(events) {
  const list = byId("events");
  if (events.length > 0 && list.firstElementChild && list.firstElementChild.dataset.none) list.replaceChildren();
  for (const event of events) {
    const item = element("li");
    const at = element("time", event.time.slice(11, 19));
    at.dateTime = event.time;
    const words = { refused: "refused", ended: "ended", message_refused: "message refused", operated: "operator", banned: "automatic ban" };
    const what = element("span", `${words[event.kind] || event.kind}: ${event.reason}`, event.kind === "operated" ? "what" : "what failed");
    item.append(at, what);
    const more = [event.client, event.route, event.subject, event.detail].filter(Boolean).join(" · ");
    if (more) item.append(element("span", more, "more"));
    list.prepend(item);
  }
  while (list.children.length > 100) list.lastElementChild.remove();
  if (list.children.length === 0) {
    const none = element("li", "Nothing has gone wrong since the start.", "quiet");
    none.dataset.none = "1";
    list.append(none);
  }
}

const when = (time) => (time ? time.replace("T", " ").replace("Z", "") : "never");

function action(text, says, run) {
  const button = element("button", text);
  button.type = "button";
  button.disabled = !mayOperate;
  button.title = mayOperate ? says : "This token may only look; the scope operate is needed.";
  button.setAttribute("aria-label", says);
  button.addEventListener("click", async () => {
    button.disabled = true;
    await tried(run);
    await lists();
  });
  const made = element("td", undefined, "r");
  made.append(button);
  return made;
}

async function tried(run) {
  try {
    await run();
    tell("");
  } catch (error) {
    if (error.status === 403) mayOperate = false;
    tell(error.message);
  }
}

function tell(text) {
  byId("told").textContent = text;
  byId("told").hidden = text === "";
  if (text) setTimeout(() => { if (byId("told").textContent === text) tell(""); }, 6000);
}

async function lists() {
  const subject = byId("f-subject").value;
  const [sessions, bans, addresses] = await Promise.all([
    json(`/v1/sessions?limit=50${subject ? `&subject=${encodeURIComponent(subject)}` : ""}`),
    json("/v1/bans"),
    json("/v1/address-bans"),
  ]);
  byId("sessions-more").hidden = !sessions.next;
  fill(
    byId("sessions"),
    sessions.sessions.map((session) => {
      const row = element("tr");
      row.append(
        cell(session.subject, "text"),
        cell(session.route),
        cell(session.client),
        cell(when(session.started_at)),
        cell(when(session.expires_at)),
        action("End", `End this session of ${session.subject}`, () => ask("DELETE", `/v1/sessions/${encodeURIComponent(session.id)}`)),
      );
      return row;
    }),
    6,
    subject ? "This subject has no session." : "Nobody has a session.",
  );
  const row = (who, ban, path) => {
    const made = element("tr");
    made.append(cell(who, "text"), cell(when(ban.until)), cell(ban.reason, "text"));
    made.append(action("Lift", `Let ${who} in again`, () => ask("DELETE", `${path}${encodeURIComponent(who)}`)));
    return made;
  };
  fill(
    byId("bans"),
    [
      ...bans.bans.map((ban) => row(ban.subject, ban, "/v1/bans/")),
      ...addresses.address_bans.map((ban) => row(ban.network, ban, "/v1/address-bans/")),
    ],
    4,
    "Nobody is kept out.",
  );
  for (const button of document.querySelectorAll("#ban-form button")) button.disabled = !mayOperate;
}

async function look() {
  clearTimeout(timer);
  const mine = visit;
  try {
    let [metrics, events] = await Promise.all([ask("GET", "/metrics").then((answer) => answer.text()), json(newestEvent ? `/v1/events?after=${newestEvent}` : "/v1/events")]);
    // A gateway that has been started anew counts from the beginning.
    const isAnother = events.newest < newestEvent;
    if (isAnother) events = await json("/v1/events");
    if (mine !== visit) return;
    showMetrics(parsed(metrics), performance.now());
    if (isAnother) byId("events").replaceChildren();
    newestEvent = events.newest;
    showEvents(events.events);
    await lists();
    if (mine !== visit) return;
    state("on", "live");
  } catch (error) {
    if (mine !== visit) return;
    if (error.status === 401 || error.status === 403) return leave(error.message);
    state("lost", "the gateway does not answer; trying again");
    before = null;
  }
  timer = setTimeout(look, EVERY_MS);
}

function state(name, text) {
  byId("state").dataset.state = name;
  byId("state").textContent = text;
}

function enter() {
  visit += 1;
  byId("login").hidden = true;
  byId("board").hidden = false;
  byId("leave").hidden = false;
  state("off", "connecting");
  look();
}

function leave(why) {
  clearTimeout(timer);
  visit += 1;
  token = "";
  sessionStorage.removeItem("token");
  [before, newestEvent, mayOperate] = [null, 0, true];
  for (const values of Object.values(history)) values.length = 0;
  byId("events").replaceChildren();
  byId("board").hidden = true;
  byId("leave").hidden = true;
  byId("login").hidden = false;
  state("off", "not connected");
  byId("login-error").textContent = why || "";
  byId("login-error").hidden = !why;
  byId("token").focus();
}

byId("login-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = byId("token").value.trim();
  byId("token").value = "";
  sessionStorage.setItem("token", token);
  byId("login-error").hidden = true;
  enter();
});
byId("leave").addEventListener("click", () => leave());
byId("sessions-filter").addEventListener("submit", (event) => {
  event.preventDefault();
  tried(lists);
});
byId("ban-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const who = byId("b-who").value.trim();
  const seconds = byId("b-seconds").value;
  const isAddress = /^[0-9a-f.:]+(\/\d+)?$/i.test(who) && /[.:]/.test(who);
  const body = { [isAddress ? "network" : "subject"]: who };
  if (seconds) body.seconds = Number(seconds);
  if (isAddress && byId("b-reason").value) body.reason = byId("b-reason").value;
  tried(async () => {
    await ask("POST", isAddress ? "/v1/address-bans" : "/v1/bans", body);
    byId("b-who").value = byId("b-reason").value = "";
    await lists();
  });
});
if (token) enter();
