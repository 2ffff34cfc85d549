// Lines of the transcript, without what differs from run to run.
'use strict';

// Indices are shown as distances from this one, because members use up some before.
let firstIndex = 0;

const distance = (index) => (index === undefined ? undefined : `+${index - firstIndex}`);

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// A call of node-etcd, whose callback gets an error, the body and the headers, as a promise of all three.
const ask = (call) => new Promise((resolve) => call((error, body, headers) => resolve({ error, body, headers })));

async function begin(etcd) {
  const { error, body } = await ask((done) => etcd.set('zero', '0', done));
  if (error) throw error;
  firstIndex = body.node.modifiedIndex;
}

const anonymous = (text) => text.replace(/127\.0\.0\.1:\d+/g, '127.0.0.1:P').replace(/\d{20}/g, 'N');

// A body with distances for indices.
function plain(value) {
  if (value === null || typeof value !== 'object') return value;
  if (Array.isArray(value)) return value.map(plain);
  const entries = Object.entries(value).map(([name, inner]) => {
    if (/^(index|.*Index)$/.test(name)) return [name, distance(inner)];
    if (name === 'expiration') return [name, 'T'];
    if (name === 'ttl') return [name, Math.ceil(inner / 10) * 10];
    return [name, plain(inner)];
  });
  return Object.fromEntries(entries);
}

// Names of all headers, and the values of those that mean something. Clocks, raft's indices and CORS (off unless it is asked for) are left out.
function header([name, value]) {
  if (name === 'x-etcd-index') return `${name}=${distance(Number(value))}`;
  if (name === 'x-etcd-cluster-id' || name === 'content-length') return name;
  return `${name}=${value}`;
}

function heads(headers) {
  if (!headers) return '';
  const named = Object.entries(headers).filter(([name]) => !/^(date|x-raft|access-control)/.test(name));
  return named.map(header).sort().join('; ');
}

function failure(error) {
  const words = [error.message, error.errorCode, JSON.stringify(plain(error.error || null))];
  if (error.errors) {
    const attempt = (one) => `${one.httperror && one.httperror.code}/${one.httpstatus}`;
    words.push(error.errors.map(attempt).sort().join(' '), 'retries', error.retries);
  }
  return words.join(' ');
}

function show(tag, answer) {
  const { error, body, headers } = answer;
  const said = error ? `! ${failure(error)}` : `= ${JSON.stringify(plain(body))}`;
  console.log(anonymous(`${tag} ${said} ${heads(headers)}`));
  return answer;
}

const showCall = async (tag, call) => show(tag, await ask(call));

// Polls until the probe gives something true; false when the limit has passed.
async function within(seconds, probe) {
  const end = Date.now() + seconds * 1000;
  while (Date.now() < end) {
    if (await probe()) return true;
    await sleep(50);
  }
  return false;
}

async function getJson(url) {
  const response = await fetch(url);
  return response.json();
}

const watchers = async (url) => (await getJson(`${url}/v2/stats/store`)).watchers;

// Tells the script that started the members to do this to one of them.
async function control(verb, url) {
  const response = await fetch(`${process.env.CONTROL}/${verb}/${new URL(url).port}`);
  if (!response.ok) throw new Error(`${verb} ${url}: ${response.status}`);
}

module.exports = { anonymous, ask, begin, control, distance, getJson, heads, show, showCall, sleep, watchers, within };
