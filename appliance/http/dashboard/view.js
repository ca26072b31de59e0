// Polls /status and /metrics once a second while somebody looks, and shows what they say.

/** Milliseconds between two polls. */
const POLL_MS = 1000;
/** Milliseconds after which a poll is given up. */
const PATIENCE_MS = 4000;
/** Where a key is kept. */
const KEY_NAME = "gimbal-api-key";
/** Routes that are asked by machines: this page, scrapers and health checks. */
const POLLED = ["/", "/status", "/metrics", "/ping", "/health", "/openapi.json"];
/** What the phases of a boot are called here. */
const PHASES = { listen: "Listen", plan: "Probe, plan", open: "Open", warm: "Warm up" };

const rate = (value) => [number(value === null ? null : Math.round(value * 10) / 10), "tokens/s"];
const count = (value) => [number(value), ""];
const share = (value) => [number(value), "%"];
const single = (key, drawn) => [{ key, drawn, name: "now" }];
const pair = (key) => [
  { key: `${key}50`, name: "p50" },
  { key: `${key}95`, name: "p95", quiet: true },
];

/** `least` is the lowest ceiling of a chart, so that noise near nothing stays small. */
const TILES = [
  { id: "output", title: "Output", lines: single("output"), format: rate, least: 10 },
  { id: "prompt", title: "Prompt", lines: single("prompt"), format: rate, least: 10 },
  {
    id: "running",
    title: "Running",
    lines: single("running", "runningMean"),
    format: count,
    least: 4,
  },
  { id: "queue", title: "Queue", lines: single("waiting"), format: count, least: 4 },
  { id: "ttft", title: "Time to first token", lines: pair("ttft"), format: duration, least: 0.001 },
  { id: "itl", title: "Between tokens", lines: pair("itl"), format: duration, least: 0.001 },
  { id: "step", title: "Step time", lines: pair("step"), format: duration, least: 0.001 },
  { id: "hits", title: "Prefix cache", lines: single("hits"), format: share, least: 100 },
].map((spec) => new Tile(spec));

const form = document.getElementById("key-form");
const past = new History();
const show = (id, text) => (document.getElementById(id).textContent = text);
const clock = () => performance.now() / 1000;
let seen = null;
let timer = null;

document.getElementById("tiles").replaceWith(...TILES.map((tile) => tile.element));

/** Health in a word, its tone, and what else is to be said. */
function healthOf({ state, phase, progress, reason }) {
  switch (state) {
    case "serving":
      return ["Serving", "good", null];
    case "loading": {
      const part = progress === null ? "" : `, ${Math.round(progress * 100)} %`;
      return [`Loading: ${phase}`, "busy", `The model is loading. Phase ${phase}${part}.`];
    }
    case "draining":
      return ["Draining", "busy", "The server is ending: what runs finishes, the rest is refused."];
    default: {
      const word = state === "failed" ? "Failed" : "Failing";
      return [word, "bad", reason ?? "The model does not serve."];
    }
  }
}

function notice(text, tone) {
  const place = document.getElementById("notice");
  if (place.textContent !== (text ?? "")) place.textContent = text ?? "";
  place.dataset.tone = tone;
  place.hidden = !text;
}

function setHealth(word, tone) {
  const pill = document.getElementById("health");
  // Setting an equal text would be read aloud again.
  if (pill.textContent !== word) pill.textContent = word;
  pill.dataset.tone = tone;
}

function showStatus(status) {
  const [model] = status.models;
  const named = (one) => (one.state === "serving" ? one.id : `${one.id} (${one.state})`);
  const names = status.models.map(named).join(", ");
  const different = (key) => [...new Set(status.models.map((one) => one[key]).filter(Boolean))];
  show("model", names || "Gimbal");
  document.title = names ? `${names} – Gimbal` : "Gimbal";
  const [word, tone, more] = healthOf(status.health);
  setHealth(word, tone);
  const simulated = "Simulated: tokens come from a hash, not from the model.";
  notice(more ?? (status.models.some((one) => one.is_simulated) ? simulated : null), more ? tone : "quiet");
  show("device", different("device").join(", ") || "–");
  show("platform", different("platform").join(", ") || "–");
  show("context", model?.max_model_len ? `${number(model.max_model_len)} tokens` : "–");
  show("uptime", longTime((status.now_unix_ms - status.started_unix_ms) / 1000));
  show("version", status.version || "–");
  show("settings", status.settings_hash || "–");
  showBoot(status.boot);
  showDevices(status.devices);
  showRefusals(status.refusals, status.now_unix_ms);
}

function showBoot({ phases, ready_ms: ready }) {
  const shown = (ms) => duration(ms / 1000).join(" ");
  const parts = phases.map(({ phase, ms }, i) => ({
    name: PHASES[phase] ?? phase,
    value: ms,
    shown: shown(ms),
    tone: `phase${i % 4}`,
  }));
  const label = ready === null ? "Phases so far" : `Ready after ${shown(ready)}`;
  show("boot-aside", ready === null ? "in progress" : `ready in ${shown(ready)}`);
  drawBar("boot", parts, label);
}

function cell(text, name) {
  const made = document.createElement("td");
  made.textContent = text;
  if (name) made.className = name;
  return made;
}

/** Replaces the rows of a table; without any, it says so in words. */
function fill(id, rows, columns, words) {
  const none = document.createElement("tr");
  none.append(Object.assign(cell(words, "none"), { colSpan: columns }));
  document.querySelector(`#${id} tbody`).replaceChildren(...(rows.length ? rows : [none]));
}

/** What a device does not tell is a dash. */
function showDevices(devices) {
  const rows = devices.map((one) => {
    const row = document.createElement("tr");
    const [used, all] = [one.memory_used_bytes, one.memory_bytes];
    const memory = used === null ? bytes(all) : `${bytes(used)} of ${bytes(all)}`;
    const celsius = one.temperature_celsius;
    const errors = cell(number(one.errors));
    if (one.errors > 0) errors.dataset.tone = "busy";
    const cells = [
      cell(one.device, "code"),
      cell(one.load_ratio === null ? "–" : percent(one.load_ratio)),
      cell(memory),
      cell(celsius === null ? "–" : `${number(Math.round(celsius))} °C`),
      errors,
    ];
    // Where there is no room for a head, each cell says what it is.
    const names = ["", "Load", "Memory", "Temperature", "Errors"];
    cells.forEach((one, i) => names[i] && (one.dataset.name = names[i]));
    row.append(...cells);
    return row;
  });
  fill("devices", rows, 5, "Not asked yet.");
}

function showRefusals(refusals, now) {
  const rows = refusals.map((one) => {
    const row = document.createElement("tr");
    const age = (now - one.unix_ms) / 1000;
    const when = cell(age < 1 ? "now" : `${longTime(age)} ago`, "when");
    when.title = new Date(one.unix_ms).toISOString();
    const times = one.count > 1 ? ` ×${number(one.count)}` : "";
    const why = cell(one.code, "why");
    why.firstChild.replaceWith(Object.assign(document.createElement("strong"), {
      textContent: one.code + times,
    }));
    why.append(Object.assign(document.createElement("span"), { textContent: one.message }));
    const status = cell(String(one.status));
    status.dataset.tone = one.status >= 500 ? "bad" : "busy";
    row.append(when, cell(one.route, "code"), status, why);
    return row;
  });
  fill("refusals", rows, 4, "None.");
}

function showMetrics(series, status, at) {
  past.add(sampleOf(series, at));
  const limit = (key) => status.models.reduce((sum, one) => sum + (one[key] ?? 0) * (one.lanes ?? 0), 0);
  const queue = status.models.reduce((sum, one) => sum + (one.job_queue_size ?? 0), 0);
  const peak = (key) => {
    const values = past.points.map((point) => point[key] ?? 0);
    return `peak ${number(Math.round(Math.max(...values)))}`;
  };
  const asides = {
    running: limit("slots") ? `of ${number(limit("slots"))} slots` : "",
    queue: queue ? `of ${number(queue)}` : "",
    output: peak("output"),
    prompt: peak("prompt"),
    ttft: "last minute",
    itl: "last minute",
    step: "last minute",
    hits: "hits, last minute",
  };
  for (const tile of TILES) tile.draw(past.points, at, asides[tile.spec.id]);
  showBlocks(series, status);
  showCounts(series);
}

function showBlocks(series, status) {
  const parts = [["Used", "used"], ["Cached", "cached"], ["Free", "free"]].map(([name, state]) => {
    const value = total(series, "gimbal_kv_blocks", { state });
    return { name, value: value ?? 0, shown: number(value), tone: state };
  });
  const all = parts.reduce((sum, part) => sum + part.value, 0);
  if (all > 0) {
    for (const part of parts) part.shown += ` (${percent(part.value / all)})`;
  }
  const tokens = status.models[0]?.kv_block_tokens ?? 0;
  const size = tokens ? `${number(all)} blocks of ${tokens} tokens` : "";
  show("kv-aside", size);
  drawBar("kv", parts, "Blocks of the KV cache");
}

function showCounts(series) {
  const statuses = new Map();
  for (const { labels, value } of series.get("gimbal_http_responses_total") ?? []) {
    if (POLLED.includes(labels.route)) continue;
    statuses.set(labels.status, (statuses.get(labels.status) ?? 0) + value);
  }
  const tone = (status) => (status < "400" ? "good" : status < "500" ? "busy" : "bad");
  const responses = [...statuses].sort().map(([status, value]) => ({
    name: status,
    shown: number(value),
    tone: tone(status),
  }));
  if (responses.length) drawCounts(document.getElementById("responses"), responses);
  const events = [
    ["Requests finished", total(series, "gimbal_requests_total")],
    ["Refused", total(series, "gimbal_refused_total")],
    ["Cancelled by clients", total(series, "gimbal_cancelled_total")],
    ["Stalled clients", total(series, "gimbal_stalled_clients_total")],
    ["Preemptions", total(series, "gimbal_preemptions_total")],
    ["Failed rows", total(series, "gimbal_row_faults_total")],
    ["Device losses", total(series, "gimbal_device_losses_total")],
    ["Engine restarts", total(series, "gimbal_engine_restarts_total")],
  ];
  const told = events.map(([name, value]) => ({ name, shown: number(value ?? 0) }));
  drawCounts(document.getElementById("events"), told);
}

/** The key that somebody gave, for as long as this tab is open. */
const savedKey = () => sessionStorage.getItem(KEY_NAME);

/** A status, and the body as `read` gives it: null where the answer is no success; 0 is no answer in time. */
async function ask(path, read) {
  try {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    const key = savedKey();
    const headers = key ? { authorization: `Bearer ${key}` } : {};
    const response = await fetch(path, { cache: "no-store", signal, headers });
    return { status: response.status, body: response.ok ? await response[read]() : null };
  } catch {
    return { status: 0, body: null };
  }
}

/** The server asks who is there: a key is asked for, and nothing else happens until it is given. */
function locked(status) {
  const why = {
    401: savedKey() ? "The server does not know that API key." : "The server asks for an API key.",
    403: "That API key may not see this page: it needs the scope admin.",
  }[status];
  document.body.dataset.link = "gone";
  setHealth("Locked", "bad");
  show("seen", "");
  notice(why, "bad");
  form.hidden = false;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY_NAME, form.elements.key.value);
  form.hidden = true;
  form.reset();
  poll();
});

async function poll() {
  const [status, metrics] = await Promise.all([ask("status", "json"), ask("metrics", "text")]);
  if (status.status === 401 || status.status === 403) {
    return locked(status.status);
  }
  if (status.body) {
    seen = clock();
    document.body.dataset.link = "live";
    show("seen", "live");
    showStatus(status.body);
    showMetrics(parseMetrics(metrics.body ?? ""), status.body, seen);
  } else {
    lost();
  }
  if (!document.hidden) timer = setTimeout(poll, POLL_MS);
}

/** The figures stay, greyed: the last ones are what one wants to see. */
function lost() {
  document.body.dataset.link = "gone";
  const ago = seen === null ? "never seen" : `last seen ${longTime(clock() - seen)} ago`;
  setHealth("No answer", "bad");
  show("seen", ago);
  notice("The server does not answer. Trying again every second.", "bad");
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (!document.hidden) return poll();
  document.body.dataset.link = "paused";
  show("seen", "paused");
});
poll();
