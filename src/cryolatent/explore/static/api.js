// Questions to the server, and its messages of numbers (see `wire.py`).

const TYPES = { float32: Float32Array, uint32: Uint32Array, uint8: Uint8Array };

async function answer(path, options) {
  let response;
  try {
    response = await fetch(`api/${path}`, options);
  } catch {
    throw new Error("cryolatent explore does not answer. Is it still running?");
  }
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  throw new Error(said.error ?? `The server answered ${response.status}.`);
}

function posted(question) {
  const headers = { "content-type": "application/json" };
  return { method: "POST", headers, body: JSON.stringify(question) };
}

export async function get(path) {
  return (await answer(path)).json();
}

export async function ask(path, question) {
  return (await answer(path, posted(question))).json();
}

export async function table(path, question) {
  return (await answer(path, posted(question))).blob();
}

export async function askNumbers(path, question) {
  return unpack(await (await answer(path, posted(question))).arrayBuffer());
}

export function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const found = { meta: header.meta };
  for (const [name, place] of Object.entries(header.arrays)) {
    found[name] = new TYPES[place.type](buffer, 4 + length + place.offset, place.length);
  }
  return found;
}

// Of questions that come faster than they are answered, the newest alone is asked next.
export function newestOnly(work, fail) {
  let running = false;
  let next = null;
  return async function call(...given) {
    if (running) {
      next = given;
      return;
    }
    running = true;
    try {
      await work(...given);
    } catch (error) {
      fail(error);
    }
    running = false;
    if (next) {
      const waiting = next;
      next = null;
      call(...waiting);
    }
  };
}
