//! The algorithm: where the highest cloud of a scan ends (Node Scala §VI-B).
//!
//! The profile of cloud indices is laid on a grid of 100 m by a natural cubic spline; what the instrument's
//! field of view has blurred is sharpened (van Cittert's deconvolution); the highest point whose index is not
//! above the threshold is the cloud's top: 1.8 is robust, 4 sensitive.
//!
//! The same steps in the same order as `node/clouds.js`, by + − × ÷ alone: the same documents give the same
//! bytes. It refuses to know where documents come from. Invariant: no document makes it panic.

use std::fmt::Write;

use serde::Deserialize;

use crate::Fallible;

/// Knots of a profile at most.
const KNOTS_MAX: usize = 64;
/// Metres between two points of the grid.
const STEP_M: i64 = 100;
/// Nobody looks for clouds above this.
const TOP_M: i64 = 30_000;
/// The instrument sees 3 km at once: points to either side of the one that is meant.
const REACH: usize = 15;
/// The weights of those points are (REACH + 1 − distance) / WHOLE, and sum up to 1.
const WHOLE: usize = (REACH + 1) * (REACH + 1);
/// How often the estimate is corrected.
const ROUNDS: usize = 2;
/// Points of the grid at most.
const POINTS_MAX: usize = 1_024;

/// A document, as far as it is needed.
#[derive(Debug, Deserialize)]
pub struct Document<'a> {
    #[serde(borrow)]
    time: &'a str,
    orbit: i64,
    latitude: f64,
    longitude: f64,
    data: (Vec<[i64; 3]>, Vec<[i64; 3]>),
}

/// The top of a cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Top {
    /// In metres.
    pub altitude: i64,
    /// The cloud index there, in thousandths.
    pub index: i64,
}

/// Finds clouds; keeps the room that it works in.
pub struct Finder {
    x: [f64; KNOTS_MAX],
    y: [f64; KNOTS_MAX],
    /// Second derivatives at the knots.
    bend: [f64; KNOTS_MAX],
    over: [f64; KNOTS_MAX],
    seen: Vec<f64>,
    next: Vec<f64>,
    /// With its first and last value repeated REACH times on either side.
    estimate: Vec<f64>,
    weights: [f64; REACH + 1],
}

impl Default for Finder {
    fn default() -> Finder {
        let mut weights = [0.0; REACH + 1];
        for (distance, weight) in weights.iter_mut().enumerate() {
            *weight = (REACH + 1 - distance) as f64 / WHOLE as f64;
        }
        let knots = [0.0; KNOTS_MAX];
        let points = vec![0.0; POINTS_MAX];
        let estimate = vec![0.0; POINTS_MAX + 2 * REACH];
        Finder {
            x: knots,
            y: knots,
            bend: knots,
            over: knots,
            seen: points.clone(),
            next: points,
            estimate,
            weights,
        }
    }
}

impl Finder {
    /// Appends a document's record: a line.
    pub fn record(&mut self, text: &[u8], channel: usize, threshold: i64, out: &mut String) -> Fallible<()> {
        let document: Document<'_> = serde_json::from_slice(text)?;
        let (heights, indices) = &document.data;
        let top = self.top(heights, indices, channel, threshold)?;
        let day = document.time.get(..10).ok_or("a document has no time")?;
        let Document { time, orbit, latitude, longitude, .. } = document;
        write!(
            out,
            "{{\"day\":\"{day}\",\"time\":\"{time}\",\"orbit\":{orbit},\"latitude\":{latitude},\
             \"longitude\":{longitude},\"channel\":{channel},\"threshold\":{threshold},"
        )?;
        match top {
            Some(Top { altitude, index }) => {
                writeln!(out, "\"cloud_altitude\":{altitude},\"cloud_index\":{index}}}")?;
            }
            None => out.push_str("\"cloud_altitude\":null,\"cloud_index\":null}\n"),
        }
        Ok(())
    }

    /// The highest point of a profile, given from above, that is cloudy; the threshold is in thousandths.
    pub fn top(
        &mut self,
        heights: &[[i64; 3]],
        indices: &[[i64; 3]],
        channel: usize,
        threshold: i64,
    ) -> Fallible<Option<Top>> {
        let n = heights.len();
        if !(3..=KNOTS_MAX).contains(&n) || indices.len() != n || channel >= 3 {
            return Err("a profile has 3 to 64 measurements of 3 channels".into());
        }
        // An instrument that scans downwards gives the highest first.
        for (i, (height, index)) in heights.iter().zip(indices).rev().enumerate() {
            self.x[i] = height[channel] as f64 / 1000.0;
            self.y[i] = index[channel] as f64 / 1000.0;
            if i > 0 && self.x[i] <= self.x[i - 1] {
                return Err("a profile's altitudes do not descend".into());
            }
        }
        self.solve(n);
        let (lowest, highest) = (heights[n - 1][channel], heights[0][channel].min(TOP_M));
        let points = self.interpolate(n, lowest, highest);
        self.sharpen(points);
        let limit = threshold as f64 / 1000.0;
        let found = (0..points).rev().find(|k| self.estimate[REACH + k] <= limit);
        Ok(found.map(|k| Top {
            altitude: lowest + STEP_M * k as i64,
            index: (self.estimate[REACH + k] * 1000.0 + 0.5).floor() as i64,
        }))
    }

    /// Second derivatives of the natural cubic spline through n knots.
    fn solve(&mut self, n: usize) {
        let Finder { x, y, bend, over, .. } = self;
        bend[0] = 0.0;
        over[0] = 0.0;
        for i in 1..n - 1 {
            let below = x[i] - x[i - 1];
            let above = x[i + 1] - x[i];
            let slope = (y[i + 1] - y[i]) / above - (y[i] - y[i - 1]) / below;
            let pivot = 2.0 * (below + above) - below * over[i - 1];
            over[i] = above / pivot;
            bend[i] = (6.0 * slope - below * bend[i - 1]) / pivot;
        }
        bend[n - 1] = 0.0;
        for i in (1..n - 1).rev() {
            bend[i] -= over[i] * bend[i + 1];
        }
    }

    /// The spline's values every STEP_M metres from the lowest knot; how many.
    fn interpolate(&mut self, n: usize, lowest: i64, highest: i64) -> usize {
        let Finder { x, y, bend, seen, .. } = self;
        let (mut interval, mut points, mut at) = (0, 0, lowest);
        while at <= highest && points < POINTS_MAX {
            let place = at as f64 / 1000.0;
            while interval < n - 2 && place > x[interval + 1] {
                interval += 1;
            }
            let width = x[interval + 1] - x[interval];
            let a = (x[interval + 1] - place) / width;
            let b = (place - x[interval]) / width;
            let straight = a * y[interval] + b * y[interval + 1];
            let bent = (a * a * a - a) * bend[interval] + (b * b * b - b) * bend[interval + 1];
            seen[points] = straight + bent * (width * width) / 6.0;
            points += 1;
            at += STEP_M;
        }
        points
    }

    /// What the instrument would have seen with a finer eye.
    fn sharpen(&mut self, points: usize) {
        let Finder { seen, next, estimate, weights, .. } = self;
        let Some(last) = points.checked_sub(1) else { return };
        estimate[REACH..REACH + points].copy_from_slice(&seen[..points]);
        for _ in 0..ROUNDS {
            let (low, high) = (estimate[REACH], estimate[REACH + last]);
            estimate[..REACH].fill(low);
            estimate[REACH + points..REACH + points + REACH].fill(high);
            for k in 0..points {
                let around = &estimate[k..k + 2 * REACH + 1];
                let mut blurred = weights[0] * around[REACH];
                for d in 1..=REACH {
                    blurred += weights[d] * (around[REACH - d] + around[REACH + d]);
                }
                next[k] = around[REACH] + (seen[k] - blurred);
            }
            estimate[REACH..REACH + points].copy_from_slice(&next[..points]);
        }
    }
}

#[cfg(test)]
mod tests;
