// Cloud altitudes from cloud-index profiles, and the records that tell them (Node Scala §VI-B).
//
// The same steps in the same order as clouds.rs, by + − × ÷ alone: the same documents give the same bytes.
"use strict";
const http = require("http");

/** Knots of a profile at most. */
const KNOTS_MAX = 64;
/** Metres between two points of the grid. */
const STEP_M = 100;
/** Nobody looks for clouds above this. */
const TOP_M = 30000;
/** The instrument sees 3 km at once: points to either side of the one that is meant. */
const REACH = 15;
/** The weights of those points are (REACH + 1 − distance) / WHOLE, and sum up to 1. */
const WHOLE = (REACH + 1) * (REACH + 1);
/** How often the estimate is corrected. */
const ROUNDS = 2;
const POINTS_MAX = 1024;

const x = new Float64Array(KNOTS_MAX);
const y = new Float64Array(KNOTS_MAX);
const bend = new Float64Array(KNOTS_MAX);
const over = new Float64Array(KNOTS_MAX);
const seen = new Float64Array(POINTS_MAX);
const next = new Float64Array(POINTS_MAX);
/** With its first and last value repeated REACH times on either side. */
const estimate = new Float64Array(POINTS_MAX + 2 * REACH);
const weights = Float64Array.from({ length: REACH + 1 }, (_, distance) => (REACH + 1 - distance) / WHOLE);

/** Second derivatives of the natural cubic spline through n knots, into `bend`. */
function solve(n) {
  bend[0] = 0;
  over[0] = 0;
  for (let i = 1; i < n - 1; i += 1) {
    const below = x[i] - x[i - 1];
    const above = x[i + 1] - x[i];
    const slope = (y[i + 1] - y[i]) / above - (y[i] - y[i - 1]) / below;
    const pivot = 2 * (below + above) - below * over[i - 1];
    over[i] = above / pivot;
    bend[i] = (6 * slope - below * bend[i - 1]) / pivot;
  }
  bend[n - 1] = 0;
  for (let i = n - 2; i > 0; i -= 1) bend[i] -= over[i] * bend[i + 1];
}

/** The spline's values every STEP_M metres from the lowest knot, into `seen`; how many. */
function interpolate(n, lowest, highest) {
  let interval = 0;
  let points = 0;
  for (let at = lowest; at <= highest && points < POINTS_MAX; at += STEP_M) {
    const place = at / 1000;
    while (interval < n - 2 && place > x[interval + 1]) interval += 1;
    const width = x[interval + 1] - x[interval];
    const a = (x[interval + 1] - place) / width;
    const b = (place - x[interval]) / width;
    const straight = a * y[interval] + b * y[interval + 1];
    const bent = (a * a * a - a) * bend[interval] + (b * b * b - b) * bend[interval + 1];
    seen[points] = straight + bent * (width * width) / 6;
    points += 1;
  }
  return points;
}

/** What the instrument would have seen with a finer eye (van Cittert), in `estimate` from REACH on. */
function sharpen(points) {
  for (let k = 0; k < points; k += 1) estimate[REACH + k] = seen[k];
  for (let round = 0; round < ROUNDS; round += 1) {
    for (let edge = 0; edge < REACH; edge += 1) {
      estimate[edge] = estimate[REACH];
      estimate[REACH + points + edge] = estimate[REACH + points - 1];
    }
    for (let k = 0; k < points; k += 1) {
      let blurred = weights[0] * estimate[REACH + k];
      for (let d = 1; d <= REACH; d += 1) {
        blurred += weights[d] * (estimate[REACH + k - d] + estimate[REACH + k + d]);
      }
      next[k] = estimate[REACH + k] + (seen[k] - blurred);
    }
    for (let k = 0; k < points; k += 1) estimate[REACH + k] = next[k];
  }
}

/** Altitude and cloud index, in metres and thousandths, of the highest point that is cloudy; or null. */
function cloudTop(data, channel, threshold) {
  const [heights, indices] = data;
  const n = heights.length;
  if (n < 3 || n > KNOTS_MAX || indices.length !== n) throw new Error("a profile has 3 to 64 measurements");
  // An instrument that scans downwards gives the highest first.
  for (let i = 0; i < n; i += 1) {
    x[i] = heights[n - 1 - i][channel] / 1000;
    y[i] = indices[n - 1 - i][channel] / 1000;
    if (i > 0 && !(x[i] > x[i - 1])) throw new Error("a profile's altitudes do not descend");
  }
  solve(n);
  const lowest = heights[n - 1][channel];
  const points = interpolate(n, lowest, Math.min(heights[0][channel], TOP_M));
  sharpen(points);
  const limit = threshold / 1000;
  for (let k = points - 1; k >= 0; k -= 1) {
    const index = estimate[REACH + k];
    if (index <= limit) return { altitude: lowest + STEP_M * k, index: Math.floor(index * 1000 + 0.5) };
  }
  return null;
}

/** A document's record: a line. */
function record(document, channel, threshold) {
  const top = cloudTop(document.data, channel, threshold);
  const altitude = top === null ? "null" : top.altitude;
  const index = top === null ? "null" : top.index;
  return (
    `{"day":"${document.time.slice(0, 10)}","time":"${document.time}","orbit":${document.orbit},` +
    `"latitude":${document.latitude},"longitude":${document.longitude},"channel":${channel},` +
    `"threshold":${threshold},"cloud_altitude":${altitude},"cloud_index":${index}}\n`
  );
}

const agent = new http.Agent({ keepAlive: true });

function open(source, params, signal) {
  const path = `/documents?from=${params.from}&to=${params.to}&limit=${params.limit}`;
  return new Promise((resolve, reject) => {
    const request = http.get(source + path, { agent, signal }, (response) => {
      if (response.statusCode === 200) return resolve(response);
      response.resume();
      reject(new Error(`the data side says ${response.statusCode}`));
    });
    request.on("error", reject);
  });
}

/** The records of a range of days, as strings of whole lines, one for each piece that the data side sends. */
async function* records(source, params, signal) {
  const response = await open(source, params, signal);
  response.setEncoding("utf8");
  let rest = "";
  for await (const piece of response) {
    const lines = (rest + piece).split("\n");
    rest = lines.pop();
    let out = "";
    for (const line of lines) out += record(JSON.parse(line), params.channel, params.threshold);
    if (out !== "") yield out;
  }
  if (!response.complete || rest !== "") throw new Error("the data side broke off");
}

module.exports = { record, records };
