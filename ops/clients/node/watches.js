// Watches and node-etcd's watcher, which goes on by itself.
'use strict';

const { anonymous, ask, control, distance, show, watchers, within } = require('./show');

// More than the 1000 events that etcd remembers.
const FILL = 1100;
const FILL_AT_A_TIME = 10;

const WATCHER_EVENTS = [
  'change', 'set', 'create', 'update', 'delete', 'compareAndSwap', 'compareAndDelete', 'expire', 'reconnect', 'resync', 'error', 'stop',
];

// Until the server has this many watches: earlier ones may be still there for a moment.
async function watched(url, count) {
  if (!(await within(20, async () => (await watchers(url)) === count))) throw new Error(`no ${count} watches`);
}

async function longPolls(etcd, url) {
  await watched(url, 0);
  const waiting = ask((done) => etcd.watch('w', done));
  await watched(url, 1);
  const written = await ask((done) => etcd.set('w', '1', done));
  show('watch', await waiting);
  const index = written.body.node.modifiedIndex;
  show('watchIndex', await ask((done) => etcd.watchIndex('w', index, done)));

  const token = etcd.watch('w', () => console.log('called after abort'));
  await watched(url, 1);
  token.abort();
  await watched(url, 0);
}

async function everyKindOfEvent(etcd, url) {
  const seen = [];
  const watcher = etcd.watcher('wd', null, { recursive: true });
  for (const kind of WATCHER_EVENTS) {
    watcher.on(kind, (event) => {
      const node = event && event.node;
      seen.push(node ? anonymous(`${kind} ${node.key} ${distance(node.modifiedIndex)}`) : kind);
    });
  }
  await watched(url, 1);
  await ask((done) => etcd.set('wd/a', '1', done));
  await ask((done) => etcd.set('wd/a', '2', { prevExist: true }, done));
  await ask((done) => etcd.compareAndSwap('wd/a', '3', '2', done));
  await ask((done) => etcd.create('wd/q', '1', done));
  await ask((done) => etcd.compareAndDelete('wd/a', '3', done));
  await ask((done) => etcd.set('wd/e', '1', { ttl: 1 }, done));
  // Not before it has expired: the order would depend on the clock.
  await within(10, () => seen.some((line) => line.startsWith('expire')));
  await ask((done) => etcd.mkdir('wd/m', done));
  await ask((done) => etcd.rmdir('wd', { recursive: true }, done));
  await within(10, () => seen.some((line) => line.startsWith('delete')));
  watcher.stop();
  await watched(url, 0);
  for (const line of seen) console.log('watcher', line);
}

async function clearedHistory(etcd) {
  for (let n = 0; n < FILL; n += FILL_AT_A_TIME) {
    const some = Array.from({ length: FILL_AT_A_TIME }, (_, k) => ask((done) => etcd.set('fill', String(n + k), done)));
    await Promise.all(some);
  }
  const { error } = await ask((done) => etcd.watchIndex('fill', 1, done));
  console.log('watchIndex cleared', error ? error.errorCode : 'no error');

  let resynced = false;
  let last;
  const watcher = etcd.watcher('fill', 1);
  watcher.on('resync', () => { resynced = true; });
  watcher.on('change', (event) => { last = event.node.value; });
  await within(5, () => resynced || last !== undefined);
  await ask((done) => etcd.set('fill', 'last', done));
  console.log('watcher over a gap: reaches the end', await within(60, () => last === 'last'));
  console.log('watcher over a gap: resyncs', resynced);
  watcher.stop();
}

// The only member is stopped and started again under a watcher.
async function restart(etcd, url) {
  const seen = new Set();
  await watched(url, 0);
  const watcher = etcd.watcher('re');
  watcher.on('change', (event) => seen.add(event.node.value));
  watcher.on('error', () => seen.add('error'));
  watcher.on('resync', () => seen.add('resync'));
  await watched(url, 1);
  await control('TERM', url);
  await control('START', url);
  const write = async () => {
    await ask((done) => etcd.set('re', 'after', done));
    return seen.has('after');
  };
  await within(60, write);
  watcher.stop();
  console.log('watcher over a restart', [...seen].join());
}

module.exports = async (etcd, url) => {
  await longPolls(etcd, url);
  await everyKindOfEvent(etcd, url);
  await clearedHistory(etcd);
  await restart(etcd, url);
};
