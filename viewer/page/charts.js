// Charts over an episode: bright up to step t, and faint after it.

const LEFT = 46;
const RIGHT = 8;
const FAINT = 0.3;
const STRIP = 62;

function stepX(t, nSteps, width) {
  return LEFT + (t / Math.max(1, nSteps - 1)) * (width - LEFT - RIGHT);
}

function stepAt(x, nSteps, width) {
  const share = (x - LEFT) / (width - LEFT - RIGHT);
  return Math.round(Math.min(1, Math.max(0, share)) * (nSteps - 1));
}

function short(value) {
  return Math.abs(value) >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(2)));
}

// A series as a line, that of the other recording as a thin one, rewards as ticks from edge to edge.
function drawSeries(canvas, series, other, rewards, color, t) {
  const { context, width, height } = pen(canvas, STRIP);
  const [low, high] = range(other ? [series.data, other.data] : [series.data]);
  const nSteps = Math.max(series.shape[0], other ? other.shape[0] : 0);
  const x = (step) => stepX(step, nSteps, width);
  const y = (value) => height - 6 - ((value - low) / (high - low)) * (height - 12);
  axis(context, low, high, y, width);
  rewards.data.forEach((reward, step) => {
    if (reward === 0) return;
    context.globalAlpha = step <= t ? 0.75 : 0.25;
    context.fillStyle = reward > 0 ? colors.reward : colors.punishment;
    context.fillRect(x(step) - 0.75, 2, 1.5, height - 4);
  });
  if (other) line(context, other.data, 0, other.shape[0] - 1, x, y, colors.muted, 1, 0.6);
  line(context, series.data, t, series.shape[0] - 1, x, y, color, 1.6, FAINT);
  line(context, series.data, 0, t, x, y, color, 1.8, 1);
  context.globalAlpha = 1;
  context.fillStyle = colors.text;
  context.fillRect(x(t) - 0.5, 0, 1, height);
  disc(context, [x(t), y(series.data[t])], 3);
}

// The smallest and the largest number, moved apart if they are equal.
function range(lists) {
  let [low, high] = [Infinity, -Infinity];
  for (const list of lists) {
    for (const value of list) [low, high] = [Math.min(low, value), Math.max(high, value)];
  }
  return low < high ? [low, high] : [low - 1, high + 1];
}

function axis(context, low, high, y, width) {
  context.globalAlpha = 1;
  context.fillStyle = colors.muted;
  context.textAlign = "right";
  context.textBaseline = "middle";
  context.fillText(short(high), LEFT - 8, y(high) + 2);
  context.fillText(short(low), LEFT - 8, y(low) - 2);
  context.fillStyle = colors.edge;
  const zero = Math.min(Math.max(0, low), high);
  context.fillRect(LEFT, y(zero), width - LEFT - RIGHT, 1);
}

function line(context, data, from, to, x, y, color, thickness, opacity) {
  context.globalAlpha = opacity;
  context.strokeStyle = color;
  context.lineWidth = thickness;
  context.lineJoin = "round";
  context.beginPath();
  for (let step = from; step <= to; step++) context.lineTo(x(step), y(data[step]));
  context.stroke();
}

// Steps to each successive reward, side by side for the recordings. A dashed bar never reached one.
// The axis has a square-root scale, so that short waits differ visibly beside a long one.
function drawWaits(canvas, recordings, t) {
  const { context, width, height } = pen(canvas, 2 * STRIP + 58);
  const bars = recordings.map((recording) => barsOf(recording));
  const slots = Math.max(...bars.map((list) => list.length));
  const [, most] = range(bars.map((list) => list.map((bar) => bar.steps)));
  const base = height - 18;
  const y = (steps) => base - Math.sqrt(steps / most) * (base - 12);
  const slot = (width - LEFT - RIGHT) / slots;
  const thick = Math.min(26, (slot * 0.85) / recordings.length);
  rulers(context, most, y, width);
  bars.forEach((list, which) => {
    const color = recordings[which].ablated ? colors.ablated : colors.intact;
    list.forEach((bar, index) => {
      const left = LEFT + (index + 0.5) * slot + (which - recordings.length / 2) * thick;
      drawBar(context, bar, left, Math.max(0.5, thick - 1), y, color, t);
    });
  });
  context.globalAlpha = 1;
  context.fillStyle = colors.muted;
  context.textAlign = "center";
  const every = Math.ceil(20 / slot);
  for (let index = 0; index < slots; index += every) {
    context.fillText(index + 1, LEFT + (index + 0.5) * slot, height - 7);
  }
}

// Lines at round numbers of steps, with a least distance between them.
function rulers(context, most, y, width) {
  context.textAlign = "right";
  context.textBaseline = "middle";
  let below = Infinity;
  for (const steps of [0, ...[1, 10, 100, 1000, 10000].flatMap((n) => [n, 2 * n, 5 * n])]) {
    if (steps > most || y(steps) > below - 18) continue;
    below = y(steps);
    context.fillStyle = colors.edge;
    context.fillRect(LEFT, below, width - LEFT - RIGHT, 1);
    context.fillStyle = colors.muted;
    context.fillText(steps, LEFT - 8, below);
  }
}

// Bright for the part of the wait that has passed by step t, and faint above it.
function drawBar(context, bar, left, thick, y, color, t) {
  const come = Math.min(bar.steps, Math.max(0, t + 1 - bar.first));
  context.fillStyle = context.strokeStyle = color;
  context.globalAlpha = FAINT;
  if (bar.open) {
    context.setLineDash([3, 3]);
    context.strokeRect(left + 0.5, y(bar.steps), thick - 1, y(0) - y(bar.steps));
    context.setLineDash([]);
  } else {
    context.fillRect(left, y(bar.steps), thick, y(0) - y(bar.steps));
  }
  context.globalAlpha = bar.open ? 2 * FAINT : 1;
  context.fillRect(left, y(come), thick, y(0) - y(come));
}

function barsOf(recording) {
  const bars = [];
  let first = 0;
  recording.rewards.data.forEach((reward, step) => {
    if (!(reward > 0)) return;
    bars.push({ first, steps: step + 1 - first, open: false });
    first = step + 1;
  });
  const rest = recording.rewards.shape[0] - first;
  if (rest > 0) bars.push({ first, steps: rest, open: true });
  return bars;
}
