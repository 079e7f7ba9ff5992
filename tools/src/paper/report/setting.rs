//! What surrounds the results: what was run when and where, how to read it, and what it cannot tell.

use super::html::{escape, paragraph};
use super::{Ending, Setting};
use crate::paper::plan::{Connections, duration, scale_words};
use crate::paper::published;
use crate::paper::results::Results;
use crate::series::whole;

/// Title, summary of the circumstances, and a warning if the run is not whole.
pub fn heading(setting: &Setting) -> String {
    let mut out = format!(
        "<h1>PushUp against its paper</h1>\n<p class=sub>The evaluation (§4) of “PushUp: A Scalable \
         Event-driven Long-Polling Server” (Liu and Cui), run again on {}, in {}.</p>\n",
        escape(&setting.began),
        duration(setting.took_s)
    );
    if setting.ending == Ending::Interrupted {
        out += "<div class=callout><b>This run was interrupted.</b> What had been measured by then is \
                shown; the rest is missing.</div>\n";
    }
    out
}

/// What a newcomer needs to know before the tables.
pub fn how_to_read(setting: &Setting, results: &Results) -> String {
    let mut out = String::from("<h2>How to read this</h2>\n<dl>\n");
    let pulling = match setting.plan.pulling {
        Connections::Fresh => "by a new connection each time",
        Connections::Kept => "on a connection that is kept",
    };
    let words = [
        (
            "CP",
            format!(
                "client pulling: every client asks an ordinary web server once in every polling \
                 interval ({} s), {pulling}.",
                published::POLLING_INTERVAL_S
            ),
        ),
        (
            "MLP",
            "multithreading long polling: the same web server holds each poll in a thread of its own \
             until there is a message."
                .to_owned(),
        ),
        ("ELP", "event-driven long polling: PushUp, which holds all polls in one event loop.".to_owned()),
        ("publish interval", "time from one message to the next.".to_owned()),
        ("NT, network traffic", "what clients send and receive in one publish interval.".to_owned()),
        (
            "MPT, mean publish trip time",
            "mean time from the moment for which a publication was planned to \
             its reception by a client."
                .to_owned(),
        ),
        (
            "RMP, received message percentage",
            format!("the share of messages that arrived within {:.0} s.", setting.received_within_s),
        ),
        ("SMU, server memory usage", "memory that the server uses while it holds the polls.".to_owned()),
    ];
    for (word, meaning) in words {
        out += &format!("<dt>{}</dt><dd>{}</dd>\n", escape(word), escape(&meaning));
    }
    out += "</dl>\n";
    out += "<p>Numbers <span style=\"color:var(--paper)\">in this colour</span> are the paper's; all \
            others were measured here. Small numbers below a number are the least and the most of its \
            repeats; the number itself is their median. A dash stands for what was not measured.</p>\n";
    out + &scale_note(setting, results)
}

/// That time was shortened, and what this does to the numbers.
fn scale_note(setting: &Setting, results: &Results) -> String {
    let rows: Vec<_> = setting.plan.rows.iter().filter(|row| results.scale(row.clients).is_some()).collect();
    if rows.iter().all(|row| row.scale >= 1.0) {
        return String::new();
    }
    let told: Vec<String> = rows
        .iter()
        .map(|row| format!("{} clients {}", whole(row.clients as f64), scale_words(row.scale)))
        .collect();
    format!(
        "<div class=callout><b>Time was shortened.</b> Tables 1 and 2 and Figures 7 and 8 ran faster than \
         the paper's 10 to 50 s: {}. The publish interval, the polling interval of {} s and the {} s of a \
         long poll (in whole seconds, at least one) are shortened alike, so that the number of polls for \
         each message is the paper's; the polls of a second are as many times more. Columns are named by \
         the paper's seconds. <code>--full</code> runs at the paper's own pace.</div>\n",
        escape(&told.join(", ")),
        published::POLLING_INTERVAL_S,
        published::LONG_POLL_S
    )
}

/// The machine, the command, the versions, and what was counted where.
pub fn circumstances(setting: &Setting, results: &Results) -> String {
    let mut out = String::from("<h2>Circumstances</h2>\n<dl>\n");
    let machine = &setting.machine;
    let mut rows = vec![
        ("Processors".to_owned(), format!("{} × {}", machine.cpus, machine.model)),
        ("Memory".to_owned(), format!("{:.1} GiB", machine.memory_bytes as f64 / f64::from(1 << 30))),
        ("Kernel".to_owned(), format!("Linux {}", machine.kernel)),
        (
            "Load average".to_owned(),
            format!("{} before, {} after (1, 5 and 15 minutes)", machine.load, setting.load_after),
        ),
        ("The paper's machines".to_owned(), published::MACHINE.to_owned()),
        ("Runs".to_owned(), runs(setting, results)),
    ];
    rows.extend(setting.versions.iter().cloned());
    for (name, value) in rows {
        out += &format!("<dt>{}</dt><dd>{}</dd>\n", escape(&name), escape(&value));
    }
    out += &format!("</dl>\n<p>The command:</p>\n<pre>{}</pre>\n", escape(&setting.command));
    let remarks: String =
        setting.remarks.iter().map(|remark| format!("<li>{}</li>\n", escape(remark))).collect();
    out += &format!("<h3>What to keep in mind</h3>\n<ul>\n{remarks}</ul>\n");
    out + &paragraph(
        "Every number of this page is in a CSV file beside it: table1.csv, table2.csv, figures9-11.csv, \
         figures12-13.csv (medians, least, most), runs-polling.csv and runs-connections.csv (every single \
         run), verdicts.csv.",
    )
}

fn runs(setting: &Setting, results: &Results) -> String {
    let done = results.polling.len() + results.crowds.len();
    let failed = results.polling.iter().filter(|run| run.outcome.is_err()).count()
        + results.crowds.iter().filter(|run| run.outcome.is_err()).count();
    format!(
        "{done} of {}, {failed} of which failed; {} repeat(s), messages of {} bytes",
        setting.plan.jobs().len(),
        setting.plan.repeats,
        setting.plan.message_bytes
    )
}
