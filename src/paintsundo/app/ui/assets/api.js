// The server's REST service, as the page uses it. Whatever goes wrong is an Error with one sentence.

const ROOT = new URL("../../api/v1/", import.meta.url);

async function call(method, path, body, type) {
  // Changes of settings are small, and are finished when the page is left while they are on their way.
  const request = { method, headers: {}, credentials: "same-origin", keepalive: method === "PATCH" };
  if (body !== undefined) {
    const raw = body instanceof Blob;
    request.body = raw ? body : JSON.stringify(body);
    request.headers["content-type"] = raw ? type || "application/octet-stream" : "application/json";
  }
  let response;
  try {
    response = await fetch(new URL(path, ROOT), request);
  } catch {
    throw new Unreachable("The server does not answer. It may be restarting; the page keeps trying.");
  }
  const answer = await read(response);
  if (response.ok) return answer;
  const error = new Error(answer?.error || `The server refused this (${response.status}).`);
  error.status = response.status;
  if (response.status === 401) location.reload();
  throw error;
}

/** No answer at all: worth trying again. */
export class Unreachable extends Error {}

async function read(response) {
  try {
    return await response.json();
  } catch {
    return null;
  }
}

const run = (id, rest = "") => `runs/${encodeURIComponent(id)}${rest}`;

export const api = {
  about: () => call("GET", "about"),
  runs: () => call("GET", "runs"),
  open: (id) => call("GET", run(id)),
  status: (id) => call("GET", run(id, "/status")),
  upload: (file, name) => call("POST", `runs?name=${encodeURIComponent(name)}`, file, file.type),
  example: (name) => call("POST", "runs", { example: name }),
  repeat: (record) => call("POST", "runs", { repeat: record }),
  change: (id, settings) => call("PATCH", run(id), settings),
  tag: (id) => call("POST", run(id, "/tag"), {}),
  keyframes: (id, seeds) => call("POST", run(id, "/keyframes"), { seeds }),
  choose: (id, candidate) => call("POST", run(id, `/candidates/${candidate}/choose`), {}),
  redraw: (id, index, seed) => call("POST", run(id, `/keyframes/${index}/regenerate`), { seed }),
  replace: (id, index, file) => call("PUT", run(id, `/keyframes/${index}`), file, file.type),
  remove: (id, index) => call("DELETE", run(id, `/keyframes/${index}`)),
  move: (id, index, to) => call("POST", run(id, `/keyframes/${index}/move`), { to }),
  add: (id, step) => call("POST", run(id, "/keyframes/add"), { operation_step: step }),
  film: (id) => call("POST", run(id, "/film"), {}),
  cancel: (id) => call("POST", run(id, "/cancel"), {}),
  resume: (id) => call("POST", run(id, "/resume"), {}),
  rename: (id, name) => call("POST", run(id, "/name"), { name }),
  keep: (id, kept) => call("POST", run(id, "/keep"), { kept }),
  delete: (id) => call("DELETE", run(id)),
  curves: (id) => call("GET", run(id, "/curves")),
  record: (id) => call("GET", run(id, "/run.json")),
  exportUrl: (id, kind) => new URL(run(id, `/export/${kind}`), ROOT).href,
  recordUrl: (id) => new URL(run(id, "/run.json"), ROOT).href,
  frameUrl: (id, index, version) => new URL(run(id, `/frames/${index}?v=${version}`), ROOT).href,
};
