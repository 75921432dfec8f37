// The panels of the live page: mazes, trace, and the two charts.

const RIM = 0.4; // how much is drawn of the wall around a maze, in cells
const BIN = 20; // steps of one bar
const BINS = 30; // bars that have room side by side

// A maze with its reward, and the agent between its last two places: `share` of the way is done.
function drawMaze(canvas, life, share, cursor) {
  const { context, width } = pen(canvas);
  const { maze, world, last } = life;
  const cell = cellSide(canvas, maze);
  const at = ([row, column]) => [column, row].map((index) => (index - 0.5 + RIM) * cell);
  const place = (index) => at(maze.cells[index]);
  context.fillStyle = colors.floor;
  context.fillRect(0, 0, width, width);
  for (let row = 0; row < maze.size; row++) {
    for (let column = 0; column < maze.size; column++) {
      if (!maze.isWall(row, column)) continue;
      drawCell(context, { shape: "block", color: "wall" }, at([row, column]), cell);
    }
  }
  const [body, arrives] = agentAt(life, share, place);
  drawPath(context, life.path, place, body, cell);
  drawCell(context, { shape: "ring", color: "goal" }, place(world.goal), cell, last?.hit && arrives);
  if (last?.hit && arrives) drawWave(context, place(world.goal), cell, share);
  drawSight(context, body, cell);
  if (cursor !== null) drawCursor(context, place(cursor), cell);
  context.fillStyle = colors.card;
  disc(context, body, 0.36 * cell);
  drawCell(context, { shape: "disc", color: "agent" }, body, cell);
}

function cellSide(canvas, maze) {
  return canvas.clientWidth / (maze.size - 2 + 2 * RIM);
}

// The number of the free cell at a point of the canvas; null for a wall.
function cellUnder(canvas, maze, { offsetX, offsetY }) {
  const index = (offset) => Math.floor(offset / cellSide(canvas, maze) + 1 - RIM);
  return maze.cellAt(index(offsetY), index(offsetX));
}

// The agent's place in pixels, and whether it has arrived. After a reward it first walks there, and
// then is at its new place.
function agentAt({ world, last }, share, place) {
  if (!last) return [place(world.agent), true];
  const walked = last.hit ? Math.min(1, 2 * share) : share;
  if (last.hit && walked === 1) return [place(world.agent), true];
  const [from, to] = [place(last.from), place(last.cell)];
  return [from.map((at, axis) => at + walked * (to[axis] - at)), walked === 1];
}

// The way since the last reward, the older the fainter.
function drawPath(context, path, place, body, cell) {
  const shown = path.slice(-30, -1).map(place).concat([body]);
  context.lineWidth = 0.14 * cell;
  context.lineCap = "round";
  for (let step = 1; step < shown.length; step++) {
    context.strokeStyle = mixed(colors.floor, colors.agent, 0.6 * (step / shown.length));
    context.beginPath();
    context.moveTo(...shown[step - 1]);
    context.lineTo(...shown[step]);
    context.stroke();
  }
}

// The 3 x 3 cells that the agent sees.
function drawSight(context, [x, y], cell) {
  context.fillStyle = context.strokeStyle = colors.agent;
  context.lineWidth = 1.5;
  context.beginPath();
  context.roundRect(x - 1.5 * cell, y - 1.5 * cell, 3 * cell, 3 * cell, 0.25 * cell);
  context.globalAlpha = 0.1;
  context.fill();
  context.globalAlpha = 0.55;
  context.setLineDash([4, 4]);
  context.stroke();
  context.setLineDash([]);
  context.globalAlpha = 1;
}

// A circle that grows from a reward that was just found.
function drawWave(context, place, cell, share) {
  context.strokeStyle = colors.goal;
  context.lineWidth = 0.12 * cell;
  context.globalAlpha = 1 - share;
  context.beginPath();
  context.arc(...place, (0.4 + share) * cell, 0, 2 * Math.PI);
  context.stroke();
  context.globalAlpha = 1;
}

// The cell that a click or Enter would choose.
function drawCursor(context, [x, y], cell) {
  context.strokeStyle = colors.goal;
  context.lineWidth = 2;
  context.beginPath();
  context.roundRect(x - 0.45 * cell, y - 0.45 * cell, 0.9 * cell, 0.9 * cell, 0.2 * cell);
  context.stroke();
}

// The steps to each reward so far, and the steps since the last one.
function showWaits(element, { waits, waited }) {
  const mark = (text, name) => {
    const made = document.createElement("b");
    made.textContent = text;
    made.className = name;
    return made;
  };
  const room = Math.max(1, Math.floor((element.clientWidth - 110) / 30));
  const shown = waits.slice(-room);
  const label = waits.length ? "steps to each: " : "searching: ";
  const more = waits.length > shown.length ? ["… "] : [];
  element.replaceChildren(label, ...more, ...shown.map((wait) => mark(wait, "")), mark(waited, "now"));
}

// Bars of both networks, side by side; a line where an episode begins, dashed if the trace was kept.
function drawRewards(canvas, bins) {
  const { context, width, height } = pen(canvas, 2 * STRIP);
  const base = height - 18;
  const most = Math.max(30, ...bins.flatMap(({ rewards }) => rewards));
  const y = (reward) => base - (Math.max(0, reward) / most) * (base - 10);
  const slot = (width - LEFT - RIGHT) / BINS;
  context.textBaseline = "middle";
  context.textAlign = "right";
  for (const reward of [0, Math.floor(most / 20) * 10, Math.floor(most / 10) * 10]) {
    context.fillStyle = colors.edge;
    context.fillRect(LEFT, y(reward), width - LEFT - RIGHT, 1);
    context.fillStyle = colors.muted;
    context.fillText(reward, LEFT - 8, y(reward));
  }
  bins.slice(-BINS).forEach(({ rewards, steps, begins, kept, episode }, index) => {
    const left = LEFT + index * slot;
    if (begins) drawBeginning(context, left, height, kept, episode);
    rewards.forEach((reward, which) => {
      context.globalAlpha = steps < BIN ? 0.5 : 1;
      context.fillStyle = [colors.intact, colors.ablated][which];
      const top = reward > 0 ? y(reward) : base - 1.5; // nothing earned is a line
      context.fillRect(left + slot * (0.14 + 0.37 * which), top, slot * 0.34, base - top);
    });
    context.globalAlpha = 1;
  });
}

function drawBeginning(context, left, height, kept, episode) {
  context.strokeStyle = context.fillStyle = colors.muted;
  context.lineWidth = 1;
  context.setLineDash(kept ? [3, 3] : []);
  context.beginPath();
  context.moveTo(left, 2);
  context.lineTo(left, height);
  context.stroke();
  context.setLineDash([]);
  context.textAlign = "left";
  context.fillText(kept ? "moved" : `episode ${episode}`, left + 4, height - 7);
}

// The mean modulation at each step of the episode, with a tick for each reward.
function drawModulation(canvas, signal, rewarded, length) {
  const { context, width, height } = pen(canvas, 2 * STRIP);
  const [low, high] = range([signal, [0]]);
  const x = (step) => stepX(step, length, width);
  const y = (value) => height - 10 - ((value - low) / (high - low)) * (height - 20);
  axis(context, low, high, y, width);
  context.fillStyle = colors.reward;
  context.globalAlpha = 0.75;
  for (const step of rewarded) context.fillRect(x(step) - 0.75, 4, 1.5, height - 8);
  if (signal.length) line(context, signal, 0, signal.length - 1, x, y, colors.intact, 1.8, 1);
  context.globalAlpha = 1;
}
