"use strict";
// The JavaScript SDK against the simulator: everything a trading program does with it. Run by tests/conformance/run.py.

const { runChecks } = require("./harness.cjs");
require("./orders.cjs");
require("./holdings.cjs");
require("./refusals.cjs");
require("./updates.cjs");
require("./history.cjs");
const data = require("./data.cjs");

// Market data is read while the other checks run.
data.begin();
runChecks().then(() => process.exit(0));
