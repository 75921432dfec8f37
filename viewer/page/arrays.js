// The arrays of the page: one gzip of all of them, each described in the manifest.

const ARRAY_TYPES = {
  i1: Int8Array, u1: Uint8Array, i4: Int32Array, f4: Float32Array, f8: Float64Array,
};

async function unpack(base64) {
  const packed = Uint8Array.from(atob(base64.trim()), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

// {type, shape, at, changes} -> {data, shape}; with `changes`, entry t holds the difference from t - 1.
function arrayFrom(buffer, packed) {
  const size = packed.shape.reduce((product, side) => product * side, 1);
  const data = new ARRAY_TYPES[packed.type](buffer, packed.at, size);
  if (packed.changes) {
    const stride = size / packed.shape[0];
    for (let i = stride; i < size; i++) data[i] += data[i - stride];
  }
  return { data, shape: packed.shape };
}

// A copy of `value` with every packed array in it unpacked. Equal arrays were packed once.
function withArrays(buffer, value, known = new Map()) {
  if (Array.isArray(value)) return value.map((item) => withArrays(buffer, item, known));
  if (value === null || typeof value !== "object") return value;
  if ("at" in value && "type" in value) {
    if (!known.has(value.at)) known.set(value.at, arrayFrom(buffer, value));
    return known.get(value.at);
  }
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [name, withArrays(buffer, item, known)]),
  );
}

async function image(source) {
  const picture = new Image();
  picture.src = source;
  await picture.decode();
  return picture;
}
