// Keys, directories, conditions.
'use strict';

const { ask, showCall } = require('./show');

async function sets(etcd) {
  await showCall('get missing', (done) => etcd.get('nope', done));
  await showCall('set', (done) => etcd.set('a', '1', done));
  await showCall('set again', (done) => etcd.set('/a', '2', done));
  await showCall('get', (done) => etcd.get('a', done));
  await showCall('set null', (done) => etcd.set('nul', null, done));
  await showCall('set number', (done) => etcd.set('num', 12, done));
  await showCall('set object', (done) => etcd.set('obj', { a: 1, b: [1, 2] }, done));
  await showCall('set empty', (done) => etcd.set('emp', '', done));
  await showCall('unicode', (done) => etcd.set('uni/ü', 'ключ☃😀', done));
  await showCall('get unicode', (done) => etcd.get('uni/ü', done));
  await showCall('odd key', (done) => etcd.set('x y+z%20', 'a b+c&d=e', done));
  await showCall('get odd', (done) => etcd.get('x y+z%20', done));
  await showCall('ttl', (done) => etcd.set('ttl', 'v', { ttl: 100 }, done));
  await showCall('ttl bad', (done) => etcd.set('ttl', 'v', { ttl: 'x' }, done));
  await showCall('prevExist false', (done) => etcd.set('a', '3', { prevExist: false }, done));
  await showCall('prevExist true', (done) => etcd.set('a', '3', { prevExist: true }, done));
  await showCall('prevExist missing', (done) => etcd.set('zz', '3', { prevExist: true }, done));
  await showCall('noValueOnSuccess', (done) => etcd.set('a', '3', { noValueOnSuccess: true }, done));
  const refresh = { refresh: true, prevExist: true, ttl: 200 };
  await showCall('refresh', (done) => etcd.set('ttl', null, { ...refresh }, done));
  await showCall('refresh+value', (done) => etcd.set('ttl', 'x', { ...refresh }, done));
}

async function directories(etcd) {
  await showCall('mkdir', (done) => etcd.mkdir('d', done));
  await showCall('mkdir again', (done) => etcd.mkdir('d', done));
  await showCall('mkdir ttl', (done) => etcd.mkdir('dt', { ttl: 60 }, done));
  await showCall('set on dir', (done) => etcd.set('d', 'v', done));
  await showCall('del dir', (done) => etcd.del('d', done));
  await showCall('rmdir', (done) => etcd.rmdir('d', done));
  await showCall('rmdir again', (done) => etcd.rmdir('d', done));
  await ask((done) => etcd.set('f', '1', done));
  await showCall('rmdir file', (done) => etcd.rmdir('f', done));
  for (const name of ['1', '2']) {
    await ask((done) => etcd.set(`t/x/${name}`, name, done));
  }
  await showCall('rmdir nonempty', (done) => etcd.rmdir('t', done));
  await showCall('get recursive', (done) => etcd.get('t', { recursive: true, sorted: true }, done));
  await showCall('rmdir recursive', (done) => etcd.rmdir('t', { recursive: true }, done));
  await showCall('create', (done) => etcd.create('q', 'v', done));
  await showCall('post', (done) => etcd.post('q', 'v2', done));
  await showCall('post ttl', (done) => etcd.post('q', 'v2', { ttl: 60 }, done));
  await showCall('create on file', (done) => etcd.create('a', 'v', done));
  await showCall('get q', (done) => etcd.get('q', { sorted: true }, done));
}

async function conditions(etcd) {
  await showCall('cas', (done) => etcd.compareAndSwap('a', '4', '3', done));
  await showCall('cas bad', (done) => etcd.compareAndSwap('a', '4', '3', done));
  await showCall('testAndSet', (done) => etcd.testAndSet('a', '5', '4', done));
  await showCall('cas empty', (done) => etcd.compareAndSwap('a', '5', '', done));
  await showCall('cas prevIndex', (done) => etcd.set('a', '6', { prevIndex: 1 }, done));
  await showCall('cad bad', (done) => etcd.compareAndDelete('a', 'no', done));
  await showCall('cad', (done) => etcd.compareAndDelete('a', '5', done));
  await showCall('cad missing', (done) => etcd.testAndDelete('a', '5', done));
  await showCall('del', (done) => etcd.del('num', done));
  await showCall('del missing', (done) => etcd.del('num', done));
  await showCall('del root', (done) => etcd.rmdir('/', { recursive: true }, done));
}

module.exports = async (etcd) => {
  await sets(etcd);
  await directories(etcd);
  await conditions(etcd);
};
