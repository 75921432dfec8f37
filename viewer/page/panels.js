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

function nameOf(recording) {
  return recording.synapses ? (recording.ablated ? "plasticity ablated" : "plastic") : recording.env;
}

function lastStep(recording) {
  return recording.rewards.shape[0] - 1;
}

// The environment of one of the two recordings.
function worldPanel(app, which) {
  const recording = app.recordings[which];
  const kind = recording.ablated ? "ablated" : "intact";
  const { section, header, note } = panel("square world " + kind, nameOf(recording), kind);
  const total = element("span", "note total");
  header.append(total);
  const canvas = canvasIn(section, `environment, ${nameOf(recording)}`);
  canvas.addEventListener("click", () => app.choose(which));
  section.append(note);
  const caption = element("div", "note");
  if (recording.scene?.captions) section.append(caption);
  const draw = () => {
    const t = Math.min(app.t, lastStep(recording));
    section.classList.toggle("chosen", app.recordings.length > 1 && app.which === which);
    if (recording.scene) drawScene(canvas, recording, t);
    else drawFrame(canvas, recording.frames, t);
    total.textContent = `earned ${short(recording.totals[t])}`;
    note.textContent = app.t > t ? `ended after step ${t + 1}` : numbersAt(recording, t);
    if (recording.scene?.captions) caption.textContent = recording.scene.captions[t];
  };
  return { section, draw };
}

function numbersAt(recording, t) {
  const reward = recording.rewards.data[t];
  const parts = [];
  if (recording.actions) parts.push(`action ${actionName(recording, recording.actions.data[t])}`);
  if (recording.values) parts.push(`value ${recording.values.data[t].toFixed(2)}`);
  parts.push(`reward ${reward > 0 ? "+" : ""}${short(reward)}`);
  return parts.join(", ");
}

function actionName(recording, action) {
  return recording.scene?.actions[action] ?? action;
}

function scaleLegend(scale) {
  const legend = element("div", "scale");
  legend.append(`−${short(scale)}`, element("span"), `+${short(scale)}`);
  return legend;
}

// A matrix at step t; `entry(t)` gives the value of an entry by its index.
function matrixPanel(app, className, heading, scale, entry, controls) {
  const [, rows, columns] = app.recording.synapses.trace.shape;
  const { section, header, note } = panel("square matrix " + className, heading);
  header.append(controls ?? scaleLegend(scale));
  const canvas = canvasIn(section, heading);
  section.append(note);
  let hovered = null;
  const describe = () => {
    const { block, shape, every, levels } = app.recording.synapses;
    const still = [`${shape[0]} × ${shape[1]}`];
    if (levels < 127) still.push(`${2 * levels + 1} levels`);
    if (block > 1) still.push(`means of ${block} × ${block}`);
    if (every > 1) still.push(`every ${every} steps`);
    if (controls) still.push(`±${short(scale)}`);
    if (hovered === null) return (note.textContent = still.join(", "));
    const [to, from] = [Math.floor(hovered / columns), hovered % columns];
    const value = entry(Math.min(app.t, lastStep(app.recording)))(hovered);
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
    drawMatrix(canvas, entry(Math.min(app.t, lastStep(app.recording))), rows, columns, scale);
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

// alpha * trace: packed if the matrices are means of blocks, else computed entry by entry.
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
  const entry = (t) => weightAt(app.recording.synapses, app.view, t);
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
  const scale = Math.max(...app.recordings.map(({ synapses }) => synapses.trace.scale));
  const entry = (t) => valuesAt(app.recording.synapses.trace, app.recording.synapses.every, t);
  return matrixPanel(app, "trace", "Hebbian trace H", scale, entry);
}

// The first two series that were recorded: there is no room for more.
const SERIES = [
  ["modulation", "modulation, mean over neurons", (recording) => recording.modulation, "intact"],
  ["abs-mean", "mean |trace|", (recording) => recording.synapses?.abs_mean, "positive"],
  ["values", "critic's value", (recording) => recording.values, "negative"],
];

function seriesOf(recording) {
  return SERIES.filter(([, , read]) => read(recording)).slice(0, 2);
}

function seriesPanel(app) {
  const { section, header, note } = panel("series seekable", "through the episode");
  header.append(note);
  const rows = seriesOf(app.recording).map(([name, heading, read, color]) => {
    const caption = element("div", "note caption");
    section.append(caption);
    const canvas = canvasIn(section, heading);
    canvas.dataset.series = name;
    seekable(app, canvas);
    return { caption, canvas, heading, read, color };
  });
  const draw = () => {
    const t = Math.min(app.t, lastStep(app.recording));
    note.textContent = app.recordings.length > 1 ? `${nameOf(app.recording)}; thin: the other` : "";
    for (const { caption, canvas, heading, read, color } of rows) {
      const series = read(app.recording);
      const other = app.recordings.length > 1 ? read(app.recordings[1 - app.which]) : null;
      drawSeries(canvas, series, other, app.recording.rewards, colors[color], t);
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
  return { section, draw: () => drawWaits(canvas, app.recordings, app.t) };
}
