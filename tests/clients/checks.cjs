// The little that a script of checks needs: `test(name, fn)` as jest has it, one after another, each at most 20 s.
const queue = [];

exports.test = (name, fn) => queue.push([name, fn]);

exports.publish = async (channel, data, more = {}) => {
  const reply = await fetch(`http://${process.env.WEIR_MAIN}/api/publish`, {
    method: 'POST',
    headers: { Authorization: 'Bearer dev-weir-api-key', 'Content-Type': 'application/json' },
    body: JSON.stringify({ channel, data, ...more }),
  });
  if (reply.status !== 200) throw new Error(`publish: ${reply.status} ${await reply.text()}`);
  return reply.json();
};

exports.finish = async () => {
  let failed = 0;
  for (const [name, fn] of queue) {
    let late;
    const patience = new Promise((_, no) => (late = setTimeout(() => no(new Error('nothing came in 20 s')), 20_000)));
    const run = fn.length ? new Promise((yes, no) => { process.once('uncaughtException', no); fn(yes); }) : fn();
    try {
      await Promise.race([run, patience]);
      console.log(`ok ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED ${name}: ${error.stack}`);
    }
    clearTimeout(late);
    process.removeAllListeners('uncaughtException');
  }
  process.exit(failed || queue.length === 0 ? 1 : 0);
};
