// The panels: each has an element and a function that draws it. One without data is not made.

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function panel(className, heading, dot) {
  const section = element("section", "panel " + className);
  const title = element("h3", "", heading);
  if (dot) {
    const mark = element("i");
    mark.style.background = `var(--${dot})`;
    title.prepend(mark);
  }
  const header = element("header");
  header.append(title);
  const note = element("div", "note");
  section.append(header);
  return { section, header, note };
}

function canvasIn(section, label) {
  const canvas = element("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  section.append(canvas);
  return canvas;
}

function nameOf(life) {
  return life.synapses ? (life.ablated ? "plasticity ablated" : "plastic") : life.env;
}

function lastStep(life) {
  return life.rewards.shape[0] - 1;
}

// The environment of one of the two lives.
function worldPanel(app, which) {
  const life = app.lives[which];
  const kind = life.ablated ? "ablated" : "intact";
  const { section, header, note } = panel("square world " + kind, nameOf(life), kind);
  const total = element("span", "note total");
  header.append(total);
  const canvas = canvasIn(section, `environment, ${nameOf(life)}`);
  canvas.addEventListener("click", () => app.choose(which));
  section.append(note);
  const caption = element("div", "note");
  if (life.scene?.captions) section.append(caption);
  const draw = () => {
    const t = Math.min(app.t, lastStep(life));
    section.classList.toggle("chosen", app.lives.length > 1 && app.which === which);
    if (life.scene) drawScene(canvas, life, t);
    else drawFrame(canvas, life.frames, t);
    total.textContent = `earned ${short(life.totals[t])}`;
    note.textContent = app.t > t ? `ended after step ${t + 1}` : numbersAt(life, t);
    if (life.scene?.captions) caption.textContent = life.scene.captions[t];
  };
  return { section, draw };
}

function numbersAt(life, t) {
  const reward = life.rewards.data[t];
  const parts = [];
  if (life.actions) parts.push(`action ${actionName(life, life.actions.data[t])}`);
  if (life.values) parts.push(`value ${life.values.data[t].toFixed(2)}`);
  parts.push(`reward ${reward > 0 ? "+" : ""}${short(reward)}`);
  return parts.join(", ");
}

function actionName(life, action) {
  return life.scene?.actions[action] ?? action;
}

function scaleLegend(scale) {
  const legend = element("div", "scale");
  legend.append(`−${short(scale)}`, element("span"), `+${short(scale)}`);
  return legend;
}

// A matrix at step t; `entry(t)` gives the value of an entry by its index.
function matrixPanel(app, className, heading, scale, entry, controls) {
  const [, rows, columns] = app.life.synapses.trace.shape;
  const { section, header, note } = panel("square matrix " + className, heading);
  header.append(controls ?? scaleLegend(scale));
  const canvas = canvasIn(section, heading);
  section.append(note);
  let hovered = null;
  const describe = () => {
    const { block, shape, every, levels } = app.life.synapses;
    const still = [`${shape[0]} × ${shape[1]}`];
    if (levels < 127) still.push(`${2 * levels + 1} levels`);
    if (block > 1) still.push(`means of ${block} × ${block}`);
    if (every > 1) still.push(`every ${every} steps`);
    if (controls) still.push(`±${short(scale)}`);
    if (hovered === null) return (note.textContent = still.join(", "));
    const [to, from] = [Math.floor(hovered / columns), hovered % columns];
    const value = entry(Math.min(app.t, lastStep(app.life)))(hovered);
    note.textContent = `from ${from * block} to ${to * block}: ${value.toFixed(3)}`;
  };
  canvas.addEventListener("mousemove", (event) => {
    const cell = canvas.clientWidth / Math.max(rows, columns);
    const [row, column] = [Math.floor(event.offsetY / cell), Math.floor(event.offsetX / cell)];
    const inside = row >= 0 && row < rows && column >= 0 && column < columns;
    hovered = inside ? row * columns + column : null;
    describe();
  });
  canvas.addEventListener("mouseleave", () => ((hovered = null), describe()));
  const draw = () => {
    drawMatrix(canvas, entry(Math.min(app.t, lastStep(app.life))), rows, columns, scale);
    describe();
  };
  return { section, draw };
}

// A quantized matrix's values at step t.
function valuesAt(quantized, every, t) {
  const [, rows, columns] = quantized.shape;
  const first = Math.floor(t / every) * rows * columns;
  return (i) => quantized.levels.data[first + i] * quantized.unit;
}

// alpha * trace: packed where the matrices are means of blocks, else entry by entry.
function changeAt(synapses, t) {
  if (synapses.change) return valuesAt(synapses.change, synapses.every, t);
  const trace = valuesAt(synapses.trace, synapses.every, t);
  return (i) => synapses.alpha.data[i] * trace(i);
}

const WEIGHT_VIEWS = {
  sum: ["w + αH", "weight + alpha × trace"],
  weight: ["w", "weight alone"],
  change: ["αH", "the difference, alpha × trace"],
};

function weightAt(synapses, view, t) {
  const weight = (i) => synapses.weight.data[i];
  const change = changeAt(synapses, t);
  return { weight, change, sum: (i) => weight(i) + change(i) }[view];
}

function weightPanel(app) {
  const controls = element("div", "segments");
  for (const [view, [label, title]] of Object.entries(WEIGHT_VIEWS)) {
    const button = element("button", "", label);
    button.type = "button";
    button.title = title;
    button.dataset.view = view;
    button.addEventListener("click", () => app.look(view));
    controls.append(button);
  }
  const entry = (t) => weightAt(app.life.synapses, app.view, t);
  const made = matrixPanel(app, "weights", "weights", app.weightScale, entry, controls);
  const draw = () => {
    for (const button of controls.children) {
      button.setAttribute("aria-pressed", button.dataset.view === app.view);
    }
    made.draw();
  };
  return { section: made.section, draw };
}

function tracePanel(app) {
  const scale = Math.max(...app.lives.map(({ synapses }) => synapses.trace.scale));
  const entry = (t) => valuesAt(app.life.synapses.trace, app.life.synapses.every, t);
  return matrixPanel(app, "trace", "Hebbian trace H", scale, entry);
}

// The first two that there are: more would not fit beside the rest.
const SERIES = [
  ["modulation", "modulation, mean over neurons", (life) => life.modulation, "intact"],
  ["abs-mean", "mean |trace|", (life) => life.synapses?.abs_mean, "positive"],
  ["values", "critic's value", (life) => life.values, "negative"],
];

function seriesOf(life) {
  return SERIES.filter(([, , read]) => read(life)).slice(0, 2);
}

function seriesPanel(app) {
  const { section, header, note } = panel("series seekable", "through the episode");
  header.append(note);
  const rows = seriesOf(app.life).map(([name, heading, read, color]) => {
    const caption = element("div", "note caption");
    section.append(caption);
    const canvas = canvasIn(section, heading);
    canvas.dataset.series = name;
    seekable(app, canvas);
    return { caption, canvas, heading, read, color };
  });
  const draw = () => {
    const t = Math.min(app.t, lastStep(app.life));
    note.textContent = app.lives.length > 1 ? `${nameOf(app.life)}; thin: the other` : "";
    for (const { caption, canvas, heading, read, color } of rows) {
      const series = read(app.life);
      const other = app.lives.length > 1 ? read(app.lives[1 - app.which]) : null;
      drawSeries(canvas, series, other, app.life.rewards, colors[color], t);
      caption.textContent = `${heading} ${series.data[t].toFixed(3)}`;
    }
  };
  return { section, draw };
}

function seekable(app, canvas) {
  const seek = (event) => app.seek(stepAt(event.offsetX, app.nSteps, canvas.clientWidth));
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    seek(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.buttons) seek(event);
  });
}

function waitsPanel(app) {
  const { section, header, note } = panel("bars", "steps to each successive reward");
  header.append(note);
  note.textContent = "dashed: not reached by the end";
  const canvas = canvasIn(section, "steps to each successive reward");
  return { section, draw: () => drawWaits(canvas, app.lives, app.t) };
}
