/** The last line of `npm test`, for programs: `web: N passed, N failed, N skipped`. */
export default class Summary {
  onTestRunEnd(modules, errors) {
    const count = { passed: 0, failed: errors.length, skipped: 0 };
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const state = test.result().state;
        count[state === 'pending' ? 'failed' : state] += 1;
      }
      count.failed += module.errors().length;
    }
    process.stdout.write(`\nweb: ${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped\n`);
  }
}
