//! One figure: lines over an axis, as SVG that stands inside a page and takes its colour for text.
//!
//! It refuses to know what is plotted. Invariant: a point that has no value is left out, and a figure
//! without any point is not drawn.

use std::fmt::Write;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;

use crate::Fallible;
use crate::series::whole;

const WIDTH: u32 = 560;
const HEIGHT: u32 = 380;
/// Black, which becomes the colour of the page's text.
const INK: RGBColor = BLACK;
const TEXT_PX: u32 = 16;
const MARK_PX: i32 = 4;
const RING_PX: i32 = 7;
const LINE_PX: u32 = 2;
/// Dashes and the gaps between them.
const DASH_PX: i32 = 5;

/// How an axis counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// From zero, evenly.
    Linear,
    /// Every power of ten as long as the other.
    Log,
}

/// How a line looks: its colour and mark also tell lines apart where they lie on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Readable on light and dark grounds.
    pub colour: RGBColor,
    /// At every point.
    pub mark: Mark,
    /// Between points.
    pub stroke: Stroke,
}

/// A mark at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Filled, round.
    Disc,
    /// An empty ring around whatever lies below.
    Ring,
    /// Filled, three corners.
    Triangle,
    /// Two strokes.
    Cross,
}

/// A line between points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stroke {
    /// Without gaps.
    Solid,
    /// With gaps: a figure beside the main one.
    Dashed,
}

/// A line of a figure.
#[derive(Clone, Debug)]
pub struct Line {
    /// What the legend calls it.
    pub name: String,
    /// How it looks.
    pub look: Look,
    /// Its points; what is not finite is left out.
    pub points: Vec<(f64, f64)>,
}

/// A figure before it is drawn.
#[derive(Clone, Debug)]
pub struct Plot {
    /// What it shows, for people who cannot see it.
    pub title: String,
    /// The horizontal axis with its unit.
    pub x_name: String,
    /// Where the horizontal axis is labelled, ascending.
    pub x_ticks: Vec<f64>,
    /// How the horizontal axis counts.
    pub x_scale: Scale,
    /// The vertical axis with its unit.
    pub y_name: String,
    /// How the vertical axis counts.
    pub y_scale: Scale,
    /// What the vertical axis spans at least.
    pub y_span: Option<(f64, f64)>,
    /// The lines, the later ones on top.
    pub lines: Vec<Line>,
}

impl Plot {
    /// The figure and its legend as HTML; none if there is nothing to draw.
    pub fn html(&self) -> Fallible<Option<String>> {
        let Some(svg) = self.svg()? else { return Ok(None) };
        let names: String =
            self.lines.iter().filter(|line| self.drawn(line).next().is_some()).map(legend).collect();
        Ok(Some(format!("{svg}<figcaption>{names}</figcaption>")))
    }

    fn svg(&self) -> Fallible<Option<String>> {
        let all: Vec<(f64, f64)> = self.lines.iter().flat_map(|line| self.drawn(line)).collect();
        if all.is_empty() {
            return Ok(None);
        }
        let (x, y) = (self.x_axis(&all), self.y_axis(&all));
        let mut text = String::new();
        {
            let root = SVGBackend::with_string(&mut text, (WIDTH, HEIGHT)).into_drawing_area();
            self.draw(&root, x, y).map_err(|error| format!("{}: {error}", self.title))?;
            root.present().map_err(|error| error.to_string())?;
        }
        // The page's own colour for text and axes; the size is the page's matter too.
        let named = format!("<svg role=\"img\" aria-label=\"{}\" ", super::html::escape(&self.title));
        Ok(Some(text.replace("\"#000000\"", "\"currentColor\"").replacen("<svg ", &named, 1)))
    }

    fn draw<B: DrawingBackend>(
        &self,
        root: &DrawingArea<B, plotters::coord::Shift>,
        x: Axis,
        y: Axis,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        let label = ("sans-serif", TEXT_PX).into_font().color(&INK);
        let mut chart = ChartBuilder::on(root)
            .margin(10)
            .margin_right(18)
            .x_label_area_size(48)
            .y_label_area_size(74)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .light_line_style(INK.mix(0.0))
            .bold_line_style(INK.mix(0.14))
            .axis_style(INK.mix(0.6))
            .label_style(label.clone())
            .axis_desc_style(label)
            .x_desc(&self.x_name)
            .y_desc(&self.y_name)
            .draw()?;
        for line in &self.lines {
            let at: Vec<(f64, f64)> = self.drawn(line).collect();
            let style = line.look.colour.stroke_width(LINE_PX);
            match line.look.stroke {
                Stroke::Solid => chart.draw_series(LineSeries::new(at.iter().copied(), style)).map(drop)?,
                Stroke::Dashed => {
                    let dashes = DashedLineSeries::new(at.iter().copied(), DASH_PX, DASH_PX, style);
                    chart.draw_series(dashes).map(drop)?;
                }
            }
            chart.draw_series(at.iter().map(|place| mark(*place, line.look)))?;
        }
        Ok(())
    }

    /// The points that can be drawn: a logarithm knows no zero.
    fn drawn<'a>(&'a self, line: &'a Line) -> impl Iterator<Item = (f64, f64)> + 'a {
        let fits = |scale: Scale, value: f64| value.is_finite() && (scale == Scale::Linear || value > 0.0);
        line.points.iter().copied().filter(move |(x, y)| fits(self.x_scale, *x) && fits(self.y_scale, *y))
    }

    fn x_axis(&self, all: &[(f64, f64)]) -> Axis {
        let (least, most) = span(all.iter().map(|(x, _)| *x).chain(self.x_ticks.iter().copied()));
        let (low, high) = match self.x_scale {
            Scale::Linear => (least - 0.04 * (most - least).max(1.0), most + 0.04 * (most - least).max(1.0)),
            Scale::Log => (least / 1.15, most * 1.15),
        };
        Axis { scale: self.x_scale, low, high, ticks: self.x_ticks.clone() }
    }

    fn y_axis(&self, all: &[(f64, f64)]) -> Axis {
        let wanted = self.y_span.into_iter().flat_map(|(low, high)| [low, high]);
        let (least, most) = span(all.iter().map(|(_, y)| *y).chain(wanted));
        match self.y_scale {
            Scale::Linear => {
                let ticks = even_ticks(most);
                Axis {
                    scale: Scale::Linear,
                    low: 0.0,
                    high: ticks.last().copied().unwrap_or(most) * 1.02,
                    ticks,
                }
            }
            Scale::Log => {
                let (low, high) = (decade(least).floor(), decade(most).ceil());
                let high = if high > low { high } else { low + 1.0 };
                Axis {
                    scale: Scale::Log,
                    low: 10f64.powf(low),
                    high: 10f64.powf(high),
                    ticks: log_ticks(low as i32, high as i32),
                }
            }
        }
    }
}

/// An axis: values become places, evenly or by their logarithm.
struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    ticks: Vec<f64>,
}

impl Axis {
    fn place(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => value,
            Scale::Log => value.log10(),
        }
    }
}

impl Ranged for Axis {
    type ValueType = f64;
    type FormatOption = NoDefaultFormatting;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let (low, high) = (self.place(self.low), self.place(self.high));
        let share = (self.place(*value) - low) / (high - low);
        from + (share * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Axis {
    fn format(value: &f64) -> String {
        tick_words(*value)
    }
}

/// A number on an axis, without digits that say nothing.
fn tick_words(value: f64) -> String {
    if value >= 10.0 || value == 0.0 {
        return whole(value);
    }
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn decade(value: f64) -> f64 {
    // A value that is a power of ten shall not fall below it by rounding.
    let exact = value.log10();
    if (exact - exact.round()).abs() < 1e-9 { exact.round() } else { exact }
}

/// Every power of ten, and what lies between them if they are few.
fn log_ticks(low: i32, high: i32) -> Vec<f64> {
    let between: &[f64] = if high - low <= 2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let all = (low..=high).flat_map(|power| between.iter().map(move |factor| factor * 10f64.powi(power)));
    all.filter(|tick| *tick <= 10f64.powi(high) * 1.000_001).collect()
}

/// From zero to at least `most` in four to ten steps of 1, 2 or 5.
fn even_ticks(most: f64) -> Vec<f64> {
    let rough = most.max(1e-9) / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|step| *step >= rough)
        .unwrap_or(rough);
    let count = (most / step).ceil() as u32;
    (0..=count).map(|number| f64::from(number) * step).collect()
}

fn span(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
}

fn mark<B: DrawingBackend>(
    at: (f64, f64),
    look: Look,
) -> plotters::element::DynElement<'static, B, (f64, f64)> {
    let line = look.colour.stroke_width(LINE_PX);
    match look.mark {
        Mark::Disc => Circle::new(at, MARK_PX, look.colour.filled()).into_dyn(),
        Mark::Ring => Circle::new(at, RING_PX, line).into_dyn(),
        Mark::Triangle => TriangleMarker::new(at, MARK_PX + 2, look.colour.filled()).into_dyn(),
        Mark::Cross => Cross::new(at, MARK_PX, line).into_dyn(),
    }
}

/// One line of the legend: how it looks and what it is called.
fn legend(line: &Line) -> String {
    let RGBColor(red, green, blue) = line.look.colour;
    let colour = format!("rgb({red},{green},{blue})");
    let dash = if line.look.stroke == Stroke::Dashed { " stroke-dasharray=\"5 5\"" } else { "" };
    let mark = match line.look.mark {
        Mark::Disc => format!("<circle cx=\"19\" cy=\"8\" r=\"4\" fill=\"{colour}\"/>"),
        Mark::Ring => format!(
            "<circle cx=\"19\" cy=\"8\" r=\"6\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        ),
        Mark::Triangle => format!("<path d=\"M13 12h12l-6-10z\" fill=\"{colour}\"/>"),
        Mark::Cross => format!("<path d=\"M15 4l8 8m0-8l-8 8\" stroke=\"{colour}\" stroke-width=\"2\"/>"),
    };
    let mut out = String::from("<span class=key><svg width=\"38\" height=\"16\" aria-hidden=\"true\">");
    let _ = write!(out, "<path d=\"M2 8h34\" stroke=\"{colour}\" stroke-width=\"2\"{dash}/>{mark}</svg>");
    out + &format!("{}</span> ", super::html::escape(&line.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(points: &[(f64, f64)]) -> Line {
        let look = Look { colour: RGBColor(1, 2, 3), mark: Mark::Ring, stroke: Stroke::Solid };
        Line { name: "a < b".to_owned(), look, points: points.to_vec() }
    }

    fn plot(lines: Vec<Line>) -> Plot {
        Plot {
            title: "Traffic".to_owned(),
            x_name: "publish interval (s)".to_owned(),
            x_ticks: vec![10.0, 50.0],
            x_scale: Scale::Linear,
            y_name: "KB".to_owned(),
            y_scale: Scale::Log,
            y_span: None,
            lines,
        }
    }

    #[test]
    fn a_figure_has_axes_lines_and_a_legend() {
        let html = plot(vec![line(&[(10.0, 1.0), (50.0, 900.0)])]).html().unwrap().unwrap();
        for part in [
            "<svg role=\"img\" aria-label=\"Traffic\"",
            "publish interval (s)",
            "1,000",
            "currentColor",
            "a &lt; b",
        ] {
            assert!(html.contains(part), "{part} in {html}");
        }
        assert!(!html.contains("#000000"));
    }

    #[test]
    fn what_has_no_value_is_left_out() {
        for points in [&[][..], &[(10.0, f64::NAN)], &[(10.0, 0.0)]] {
            assert!(plot(vec![line(points)]).html().unwrap().is_none(), "{points:?}");
        }
        assert!(plot(vec![line(&[(10.0, 0.0), (10.0, 5.0)])]).html().unwrap().is_some());
    }

    #[test]
    fn ticks() {
        assert_eq!(even_ticks(100.0), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(even_ticks(7.2), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(log_ticks(0, 3), [1.0, 10.0, 100.0, 1_000.0]);
        assert_eq!(log_ticks(0, 1), [1.0, 2.0, 5.0, 10.0]);
        for (value, text) in [(0.0, "0"), (0.001, "0.001"), (0.5, "0.5"), (1.0, "1"), (16_000.0, "16,000")] {
            assert_eq!(tick_words(value), text);
        }
    }
}
