// Lines and bars. What they show is said in view.js.

/** The height of a chart: the least round number that holds all values. */
function ceiling(values, least) {
  const largest = Math.max(least, ...values);
  const magnitude = 10 ** Math.floor(Math.log10(largest));
  const steps = [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10];
  return steps.find((step) => step * magnitude >= largest * 0.9999) * magnitude;
}

/** Runs of points that have a value, as [x, y] in a box of 300 by 100. */
function runs(points, key, now, top) {
  const found = [];
  let run = [];
  for (const point of points) {
    if (point[key] === null) {
      if (run.length) found.push(run);
      run = [];
      continue;
    }
    const y = 100 - (100 * Math.min(point[key], top)) / top;
    run.push([(HISTORY_S - (now - point.at)).toFixed(2), y.toFixed(2)]);
  }
  if (run.length) found.push(run);
  return found;
}

/** What a line is drawn from; its number may be of another key. */
const drawn = (line) => line.drawn ?? line.key;
const lineOf = (run) => `M${run.map((xy) => xy.join(" ")).join("L")}`;

/** One tile: a title, one or two values, and their lines. */
class Tile {
  constructor(spec) {
    this.spec = spec;
    const tile = document.getElementById("tile").content.cloneNode(true).firstElementChild;
    const title = tile.querySelector("h2");
    title.textContent = spec.title;
    title.id = `${spec.id}-title`;
    tile.setAttribute("aria-labelledby", title.id);
    tile.id = spec.id;
    this.aside = tile.querySelector(".aside");
    this.values = tile.querySelector(".values");
    this.chart = tile.querySelector(".chart");
    this.top = tile.querySelector(".top");
    this.hint = tile.querySelector(".hint");
    this.part = (name) => tile.querySelector(`svg .${name}`);
    this.figures = spec.lines.map((line) => this.figure(line));
    this.element = tile;
    this.points = [];
    this.chart.addEventListener("pointermove", (event) => this.point(event));
    this.chart.addEventListener("pointerleave", () => this.leave());
  }

  figure(line) {
    const group = document.createElement("div");
    const name = document.createElement("dt");
    name.textContent = line.name;
    name.className = line.quiet ? "quiet" : "";
    const value = document.createElement("dd");
    group.append(name, value);
    this.values.append(group);
    return value;
  }

  /** Shows the newest point and the lines up to it. */
  draw(points, now, aside) {
    this.points = points;
    this.now = now;
    const { lines, format, least, title } = this.spec;
    const newest = points.at(-1) ?? {};
    const told = lines.map((line, i) => {
      const [value, unit] = format(newest[line.key] ?? null);
      this.figures[i].replaceChildren(value);
      if (unit) this.figures[i].append(" ", Object.assign(document.createElement("small"), {
        textContent: unit,
      }));
      return `${line.name} ${value} ${unit}`;
    });
    this.aside.textContent = aside ?? "";
    const values = lines.flatMap((line) => points.map((p) => p[drawn(line)] ?? 0));
    this.max = ceiling(values, least);
    const [top, unit] = format(this.max);
    this.top.textContent = `${top} ${unit}`.replace(" tokens/s", "");
    this.chart.setAttribute("aria-label", `${title}, last 5 minutes. Now ${told.join(", ")}`);
    ["a", "b"].forEach((name, i) => this.line(name, lines[i], i === 0));
    const isFilled = lines.every((line) => (newest[line.key] ?? null) !== null);
    this.element.dataset.filled = String(isFilled);
  }

  line(name, line, isFirst) {
    const found = line ? runs(this.points, drawn(line), this.now, this.max) : [];
    this.part(`line.${name}`).setAttribute("d", found.map(lineOf).join(""));
    const last = this.points.at(-1);
    const lives = found.length && last && last[drawn(line)] !== null;
    const dot = lives ? `M${found.at(-1).at(-1).join(" ")}h0` : "";
    this.part(`now.${name}`).setAttribute("d", dot);
    if (!isFirst) return;
    const area = found.map((run) => `${lineOf(run)}V100H${run[0][0]}Z`);
    this.part("area").setAttribute("d", area.join(""));
  }

  /** Tells the values under the pointer. */
  point(event) {
    const box = this.chart.getBoundingClientRect();
    const at = this.now - HISTORY_S * (1 - (event.clientX - box.left) / box.width);
    const distance = (point) => Math.abs(point.at - at);
    const nearest = this.points.reduce((a, b) => (a && distance(a) < distance(b) ? a : b), null);
    if (!nearest || distance(nearest) > 5) return this.leave();
    const { lines, format } = this.spec;
    const values = lines.map((line) => format(nearest[drawn(line)] ?? null).join(" ").trim());
    const ago = Math.round(this.now - nearest.at);
    this.hint.textContent = `${values.join(" · ")}, ${ago} s ago`;
    const x = HISTORY_S - (this.now - nearest.at);
    this.part("hair").setAttribute("d", `M${x.toFixed(2)} 0V100`);
  }

  leave() {
    this.hint.textContent = "";
    this.part("hair").setAttribute("d", "");
  }
}

/** A bar of parts and its legend. Each part is {name, value, shown, tone}. */
function drawBar(id, parts, label) {
  const bar = document.getElementById(`${id}-bar`);
  const sum = parts.reduce((all, part) => all + part.value, 0);
  while (bar.children.length > parts.length) bar.lastChild.remove();
  while (bar.children.length < parts.length) bar.append(document.createElement("span"));
  parts.forEach((part, i) => {
    bar.children[i].dataset.tone = part.tone;
    bar.children[i].style.flexGrow = sum > 0 ? part.value / sum : 0;
  });
  const told = parts.map((part) => `${part.name} ${part.shown}`);
  bar.setAttribute("aria-label", `${label}: ${told.join(", ")}`);
  drawCounts(document.getElementById(`${id}-legend`), parts);
}

/** A list of names and values; `tone` colours a name's mark. */
function drawCounts(list, parts) {
  list.replaceChildren(...parts.map((part) => {
    const group = document.createElement("div");
    const [name, value] = [document.createElement("dt"), document.createElement("dd")];
    name.textContent = part.name;
    value.textContent = part.shown;
    if (part.tone) group.dataset.tone = part.tone;
    group.append(name, value);
    return group;
  }));
}
