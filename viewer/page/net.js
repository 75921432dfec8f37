// One step of the trained net, as in core/cells/plastic_rnn.py and core/connection.py. From the
// input u(t) and the previous activity x(t-1), with the trace H,
//
//     x(t)  =  tanh( W_in u(t) + b + (w + alpha * H) x(t-1) )          pre = x(t-1), post = x(t)
//     M(t)  =  f( m . x(t) + c )             with fan-out, M_j(t) = v_j M(t) + c_j for each neuron j
//
//     none            H <- bound( H, D, eta )
//     simple          H <- bound( H, D, M(t) )
//     retroactive     H <- bound( H, E, M(t) ),  then  E <- (1 - eta) E + eta D
//
// where the rule gives the increment D[j, i]. A matrix is {data, shape}, row by row in one array.

// D[j, i] from H[j, i], pre[i] and post[j]; core/rules.py. For the delta rule, pre has the length 1,
// and post[j] is the error of what the trace recalls, post[j] - (H pre)[j].
const RULES = {
  hebb: (trace, pre, post) => post * pre,
  oja: (trace, pre, post) => post * (pre - post * trace),
  delta: (trace, pre, error) => error * pre,
};

// The new H[j, i] from the old one, the increment and the rate; core/rules.py.
const BOUNDS = {
  none: (trace, increment, rate) => trace + rate * increment,
  hard: (trace, increment, rate, clip) => clamp(trace + rate * increment, clip),
  soft: (trace, increment, rate) => {
    const delta = rate * increment;
    return clamp(trace + delta - Math.abs(delta) * trace, 1);
  },
  decay: (trace, increment, rate) => (1 - rate) * trace + rate * increment,
};

// f, the modulator's output function; core/modulation.py.
const ACTIVATIONS = {
  tanh: Math.tanh,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  linear: (x) => x,
};

function clamp(value, limit) {
  return Math.min(limit, Math.max(-limit, value));
}

// The state at the start of an episode: nothing is active, nothing has been learned.
function initialState(net) {
  const [n] = net.weight.shape;
  return {
    hidden: new Float64Array(n),
    trace: new Float64Array(n * n),
    eligibility: net.modulation === "retroactive" ? new Float64Array(n * n) : null,
    modulation: null, // M_j(t) of each neuron
  };
}

// The same net without plasticity: its trace moves, but changes nothing.
function ablated(net) {
  const { data, shape } = net.alpha;
  return { ...net, alpha: { data: new Float32Array(data.length), shape } };
}

// weight input + bias
function linear({ weight, bias }, input) {
  const [rows, columns] = weight.shape;
  const output = new Float64Array(rows);
  for (let j = 0; j < rows; j++) {
    let sum = bias.data[j];
    for (let i = 0; i < columns; i++) sum += weight.data[j * columns + i] * input[i];
    output[j] = sum;
  }
  return output;
}

// x(t)
function activity(net, state, input) {
  const [weight, alpha, trace, pre] = [net.weight.data, net.alpha.data, state.trace, state.hidden];
  const n = pre.length;
  const projected = linear(net.input, input);
  const post = new Float64Array(n);
  for (let j = 0, at = 0; j < n; j++) {
    let sum = projected[j];
    for (let i = 0; i < n; i++, at++) sum += (weight[at] + alpha[at] * trace[at]) * pre[i];
    post[j] = Math.tanh(sum);
  }
  return post;
}

// M_j(t) of each neuron; null without a modulator.
function modulationAt(net, post) {
  if (net.modulation === "none") return null;
  const [sum] = linear(net.modulator, post);
  const signal = ACTIVATIONS[net.modulator_activation](sum);
  return net.fan_out ? linear(net.fan_out, [signal]) : new Float64Array(post.length).fill(signal);
}

function dot(one, other) {
  return one.reduce((sum, value, i) => sum + value * other[i], 0);
}

// A vector divided by its length; the zero vector stays zero.
function ofLengthOne(vector) {
  const length = Math.sqrt(dot(vector, vector)) || 1;
  return vector.map((value) => value / length);
}

// Change H, and E if there is one, in place.
function learn(net, { trace, eligibility }, pre, post, modulation) {
  const rule = RULES[net.rule];
  const bound = BOUNDS[net.bound];
  const n = pre.length;
  const corrects = net.rule === "delta";
  if (corrects) pre = ofLengthOne(pre);
  for (let j = 0, at = 0; j < n; j++) {
    const rate = modulation ? modulation[j] : net.eta;
    const target = corrects ? post[j] - dot(trace.subarray(at, at + n), pre) : post[j];
    for (let i = 0; i < n; i++, at++) {
      const increment = rule(trace[at], pre[i], target);
      trace[at] = bound(trace[at], eligibility ? eligibility[at] : increment, rate, net.clip);
      if (eligibility) eligibility[at] = (1 - net.eta) * eligibility[at] + net.eta * increment;
    }
  }
}

// Advance the state by one step; returns the probability of each action, and the critic's value.
function netStep(net, state, input) {
  const pre = state.hidden;
  state.hidden = activity(net, state, input);
  state.modulation = modulationAt(net, state.hidden);
  learn(net, state, pre, state.hidden, state.modulation);
  const logits = linear(net.action_head, state.hidden);
  return { logits, probabilities: softmax(logits), value: linear(net.value_head, state.hidden)[0] };
}

function softmax(logits) {
  const highest = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp(logit - highest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

// The first action whose cumulative probability exceeds `uniform`, a random number in [0, 1).
function sampled(probabilities, uniform) {
  let [action, total] = [0, probabilities[0]];
  while (action < probabilities.length - 1 && total <= uniform) total += probabilities[++action];
  return action;
}

function mostLikely(probabilities) {
  return probabilities.indexOf(Math.max(...probabilities));
}
