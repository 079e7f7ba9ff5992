//! Every bound in the program, named with its unit.
//!
//! What an operator may change stands in `config`, whose ranges and defaults are
//! written here; the rest is fixed. The assertions at the end hold the bounds
//! against each other, at compile time.

// -- Threads ----------------------------------------------------------------------------

/// Shards of a node.
pub const SHARDS_MAX: usize = 256;
/// What a shard may be behind the hub, in bytes; beyond it the hub takes nothing new.
pub const TEAM_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A shard that was full listens again when one part in this many of its connections has gone.
pub const ROOM_AGAIN_PART: usize = 16;

// -- HTTP: what a request may be (RFC 9112) ------------------------------------

/// A request line, in bytes without its line end; beyond it 414.
pub const REQUEST_LINE_BYTES_MAX: usize = 8 * 1024;
/// All header fields together, in bytes; beyond it 431.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Header fields in one request; beyond it 431.
pub const HEADER_FIELDS_MAX: usize = 100;
/// Empty lines that are skipped before a request line (RFC 9112 §2.2).
pub const LEADING_EMPTY_LINES_MAX: usize = 8;
/// A whole request head: request line, fields and line ends, in bytes.
pub const HEAD_BYTES_MAX: usize =
    REQUEST_LINE_BYTES_MAX + HEADER_BYTES_MAX + 2 * (LEADING_EMPTY_LINES_MAX + 2);
/// Hexadecimal digits in a chunk size (RFC 9112 §7.1).
pub const CHUNK_SIZE_DIGITS_MAX: usize = 16;
/// Chunk extensions of one body, in bytes.
pub const CHUNK_EXTENSION_BYTES_MAX: usize = 16 * 1024;
/// Trailer fields of one body, in bytes.
pub const TRAILER_BYTES_MAX: usize = 16 * 1024;

/// A PROXY header, in bytes: what the smallest permitted TCP segment carries.
pub const PROXY_BYTES_MAX: usize = 536;
/// A PROXY header of version 1, in bytes with its line end.
pub const PROXY_LINE_BYTES_MAX: usize = 107;
/// Hops of `X-Forwarded-For` that are looked at.
pub const FORWARDED_HOPS_MAX: usize = 32;

/// A message's Content-Type, in bytes.
pub const CONTENT_TYPE_BYTES_MAX: usize = 128;
/// An Idempotency-Key, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;
/// How deep JSON may nest.
pub const JSON_DEPTH_MAX: usize = 32;

// -- Push: what a poll, a publication and a channel may be ---------------------

/// A channel's name, in bytes.
pub const CHANNEL_NAME_BYTES_MAX: usize = 128;
/// Channels in one subscription or publication.
pub const CHANNELS_PER_REQUEST_MAX: usize = 64;
/// Publications in one batch request.
pub const BATCH_PUBLICATIONS_MAX: usize = 10_000;
/// Messages in one answer.
pub const ANSWER_MESSAGES_MAX: usize = 1_000;
/// Message bytes in one answer; at least one message is always given.
pub const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Channels in one page of the channel list.
pub const CHANNEL_PAGE_MAX: usize = 1_000;
/// Origins in one cursor.
pub const CURSOR_ORIGINS_MAX: usize = 64;
/// With more origins than this the dead leave cursors before their time.
pub const CURSOR_ORIGINS_EASY: usize = CURSOR_ORIGINS_MAX * 3 / 4;
/// A cursor's text, in bytes.
pub const CURSOR_TEXT_BYTES_MAX: usize = 2_048;
/// Names of closed channels that are remembered so as to answer 410.
pub const TOMBSTONES_MAX: usize = 100_000;
/// How long a closed channel's name is remembered, in milliseconds.
pub const TOMBSTONE_MS: u64 = 3_600_000;
/// How far another node's clock may be ahead of ours, in milliseconds, and still move ours.
pub const CLOCK_AHEAD_MS_MAX: u64 = 60_000;
/// How long an origin is remembered after it died and all its messages expired, in milliseconds.
pub const ORIGIN_KEPT_MS: u64 = 600_000;
/// Dead origins of which only the last entry is remembered; the oldest give way.
pub const RETIRED_ORIGINS_MAX: usize = 4_096;
/// Times at which origins were found dead that are told apart.
pub const RETIREMENTS_MAX: usize = 8;
/// How long an Idempotency-Key is remembered, in milliseconds.
pub const IDEMPOTENCY_MS: u64 = 300_000;
/// Idempotency-Keys that are remembered; the oldest give way.
pub const IDEMPOTENCY_KEYS_MAX: usize = 100_000;
/// The longest a poll can be held, in seconds, whatever the configuration says.
pub const POLL_TIMEOUT_S_MAX: u64 = 600;
/// The longest life of a message or an idle channel, in seconds: a year.
pub const TTL_S_MAX: u64 = 366 * 86_400;
/// The same in milliseconds, as nodes tell it each other.
pub const TTL_MS_MAX: u64 = TTL_S_MAX * 1000;
/// A poll's time-out is cut by up to this share (a tenth), so that polls that
/// began together do not end together; never below [`JITTER_FROM_S`].
pub const JITTER_DIVISOR: u64 = 10;
/// Time-outs shorter than this, in seconds, are exact.
pub const JITTER_FROM_S: u64 = 20;
/// The leeway for a token's `exp` and `nbf`, in seconds.
pub const TOKEN_LEEWAY_S: u64 = 30;
/// A subscriber's token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 4_096;
/// Channel patterns in a subscriber's token.
pub const TOKEN_PATTERNS_MAX: usize = 256;

// -- Connections: how long and how much ----------------------------------------

/// A request's head must be complete this long after its first byte, in milliseconds; else 408.
pub const HEAD_MS_MAX: u64 = 10_000;
/// A connection with no request in progress is closed after this long, in milliseconds.
pub const IDLE_MS_MAX: u64 = 75_000;
/// How often a body's or an answer's progress is judged, in milliseconds.
pub const PROGRESS_MS: u64 = 10_000;
/// The slowest body or reader that is put up with, in bytes per second.
pub const PROGRESS_BYTES_PER_S: u64 = 500;
/// How long an error answer lingers before the socket is closed, in milliseconds.
pub const LINGER_MS: u64 = 2_000;
/// What is read and thrown away while lingering, in bytes.
pub const LINGER_BYTES_MAX: usize = 256 * 1024;
/// The buffer one shard reads with, in bytes. No larger than a head needs: what a publisher
/// sends in a row is delivered before the next bufferful is read, while it is still in the
/// processor's caches (with 64 KiB, 16,000 channels cost a quarter more).
pub const SCRATCH_BYTES: usize = 26 * 1024;
/// Polls that are read before the first of them is looked at. The processor's caches hold either
/// the kernel's code that receives or ours that understands, so each does many in a row.
pub const GATHERED_MAX: usize = 16;
/// What is read of each, in bytes; of a longer one the rest is read afterwards.
pub const GATHERED_BYTES: usize = SCRATCH_BYTES / GATHERED_MAX;
/// Answers gathered for one connection before its requests wait, in bytes.
pub const OUTPUT_BYTES_MAX: usize = 256 * 1024;
/// A body while it arrives may be buffered up to this, in bytes, whatever the configuration says.
pub const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

// -- The cluster: what a link may carry ----------------------------------------

/// A frame between nodes, in bytes: a message's body, its meta, the header.
pub const FRAME_BYTES_MAX: usize = BODY_BYTES_MAX + 64 * 1024 + 12;
/// A frame of a peer that has not proven itself yet, in bytes.
pub const HANDSHAKE_BYTES_MAX: usize = 4 * 1024;
/// Origins in one vector between nodes.
pub const DIGEST_ORIGINS_MAX: usize = 4_096;
/// Origins that a node knows of, live, dead and retired; of others it takes nothing until some are forgotten.
pub const ORIGINS_MAX: usize = DIGEST_ORIGINS_MAX + RETIRED_ORIGINS_MAX;
/// A list of origins and their numbers as text, in bytes: about twice what one of
/// [`DIGEST_ORIGINS_MAX`] takes.
pub const DIGEST_BYTES_MAX: usize = DIGEST_ORIGINS_MAX * 96;
/// The highest number of an entry: what every JSON reader can hold (RFC 8259 §6), enough for
/// 285 years at a million entries a second.
pub const SEQ_MAX: u64 = (1 << 53) - 1;
/// Features that a node may name when it says who it is.
pub const FEATURES_MAX: usize = 16;
/// A feature's name, in bytes.
pub const FEATURE_BYTES_MAX: usize = 32;
/// What a node says at the end of a link, in bytes.
pub const BYE_REASON_BYTES_MAX: usize = 256;

// -- The reactor: bounded work per tick ----------------------------------------

/// Events taken from the kernel at once.
pub const EVENTS_PER_TICK: usize = 1_024;
/// Connections accepted per listener and tick.
pub const ACCEPTS_PER_TICK: usize = 256;
/// Connections written to per tick, before new input is looked at.
pub const WRITES_PER_TICK: usize = 1_024;
/// Reads per connection and tick.
pub const READS_PER_TICK: usize = 4;
/// With so many answers to be sent, reading from a connection waits for the next tick.
pub const LISTED_ENOUGH: usize = 64;
/// Timers that fire per tick.
pub const TIMERS_PER_TICK: usize = 1_024;
/// Channels whose expiry is looked at per tick.
pub const EXPIRIES_PER_TICK: usize = 1_024;
/// How long accepting pauses when descriptors are exhausted, in milliseconds.
pub const ACCEPT_PAUSE_MS: u64 = 50;
/// A warning that would come again and again is logged this often, in milliseconds.
pub const WARNING_MS: u64 = 1_000;
/// Idle connections closed at once to make room.
pub const EVICTIONS_PER_TICK: usize = 64;
/// Callers accepted on the cluster's listener per tick.
pub const LINK_ACCEPTS_PER_TICK: usize = 16;
/// Connections to other nodes begun per tick.
pub const DIALS_PER_TICK: usize = 16;
/// Writes per link and round, of which a tick has two.
pub const LINK_WRITES_PER_TICK: usize = 8;
/// Datagrams received per tick, and sent per round.
pub const DATAGRAMS_PER_TICK: usize = 256;
/// A datagram that is received, in bytes: what a network carries in one piece. Longer ones are dropped.
pub const DATAGRAM_RECEIVED_BYTES_MAX: usize = 1_500;
/// How often a port is tried that must be free for both TCP and UDP.
pub const CLUSTER_BIND_TRIES: usize = 8;
/// Connections waiting in a listener's queue.
pub const LISTEN_BACKLOG: i32 = 4_096;
/// Descriptors kept back for listeners, logs and files.
pub const DESCRIPTORS_RESERVED: usize = 64;
/// Unacknowledged data for this long means that the peer is gone, in milliseconds.
pub const USER_TIMEOUT_MS: u64 = 35_000;
/// Seconds that a shed request is told to wait (Retry-After).
pub const RETRY_AFTER_S: u64 = 2;

/// Entries of evicted messages that may stand in the order of eviction beside as many of cached ones.
pub const EVICTION_SLACK: usize = 1_024;
/// Entries of that order that a publication looks at while there are too many.
pub const EVICTION_SWEEP: usize = 4;

/// Room before a shared body for its head, in bytes; a longer head goes out as a piece of its own.
pub const HEAD_ROOM_BYTES: usize = 320;
/// Buffers of answers that are kept for the next: one for each publication of a read.
pub const SPARE_BUFFERS_MAX: usize = 256;
/// The largest buffer that is kept for the next answer, in bytes.
pub const SPARE_BYTES_MAX: usize = 4 * 1024;
/// While draining, a connection without a request is closed after this long, in milliseconds.
pub const DRAIN_IDLE_MS: u64 = 1_000;
/// At the end of a drain, whoever was just accepted is served for this long, in milliseconds.
pub const DRAIN_LAST_MS: u64 = 250;
/// How long a stopping node goes on sending to its peers what they do not have, in milliseconds.
pub const DRAIN_LINKS_MS: u64 = 2_000;
/// Held polls are released this often, in milliseconds.
pub const DRAIN_STEP_MS: u64 = 50;
/// Expired messages are dropped at most this much later, in milliseconds; until then
/// they only take memory, since no reader is given an expired message.
pub const EXPIRY_SLACK_MS: u64 = 1_000;
/// The shortest key: as long as the hash (RFC 7518 §3.2).
pub const TOKEN_KEY_BYTES_MIN: usize = 32;

// -- The cluster -----------------------------------------------------------------

/// What a log entry costs beside its frame, in bytes.
pub const LOG_FRAME_OVERHEAD_BYTES: usize = 48;
/// The logs of all origins on one node, in bytes; at most an eighth of its memory.
pub const LOG_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A peer is told what is new here this often, in milliseconds.
pub const DIGEST_MS: u64 = 200;
/// …and if nothing is, that we live, in milliseconds.
pub const HEARTBEAT_MS: u64 = 1_000;
/// A link from which nothing comes for this long is cut, in milliseconds.
pub const LINK_SILENT_MS: u64 = 5_000;
/// A link's output buffer is filled up to this, in bytes.
pub const LINK_OUTPUT_BYTES: usize = 128 * 1024;
/// Requests for missing entries that wait on one link.
pub const PULLS_SERVED_MAX: usize = 64;
/// Entries asked for at once.
pub const PULL_ENTRIES_MAX: u64 = 10_000;
/// Without progress for this long, missing entries are asked for again, of another peer, in milliseconds.
pub const PULL_MS: u64 = 500;
/// Entries that are held because one before them is missing.
pub const EARLY_ENTRIES_MAX: usize = 1_024;
/// …and their bytes.
pub const EARLY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What is to be done for the cluster is looked for this often, in milliseconds.
pub const CLUSTER_STEP_MS: u64 = 50;
/// A handshake must be done by then, in milliseconds.
pub const HANDSHAKE_MS: u64 = 2_000;
/// A connection to a peer must stand by then, in milliseconds.
pub const LINK_DIAL_MS: u64 = 3_000;
/// A refused peer has this long to read why, in milliseconds.
pub const LINK_ENDING_MS: u64 = 1_000;
/// Links of one node.
pub const LINKS_MAX: usize = 1_024;
/// Links that have not yet proved to belong.
pub const LINKS_UNPROVEN_MAX: usize = 64;
/// A peer is called again after this long at first, in milliseconds.
pub const DIAL_MS_MIN: u64 = 200;
/// …and after this long at most, in milliseconds.
pub const DIAL_MS_MAX: u64 = 5_000;
/// A peer that should call us is called after this long, in milliseconds.
pub const DIAL_PATIENCE_MS: u64 = 2_000;
/// A node that cannot reach all that it was told of, but one that serves, begins without the others
/// after this long, in milliseconds.
pub const JOIN_MS: u64 = 3_000;
/// A node that reaches none that serves, or cannot get what they say that they have, serves without
/// it after this long, in milliseconds.
pub const JOIN_MS_MAX: u64 = 60_000;
/// A node that joins counts the time since its last step as this much at most, in milliseconds: it
/// may have been stopped.
pub const JOIN_STEP_MS_MAX: u64 = 1_000;
/// A snapshot of which nothing comes for this long is given up, in milliseconds.
pub const SNAPSHOT_SILENT_MS: u64 = 5_000;
/// Pieces of a snapshot are made this many bytes at a time.
pub const PIECES_BYTES: usize = 128 * 1024;
/// A channel's expiry is proposed this much later by each next node in rank, in milliseconds.
pub const EXPIRY_PATIENCE_MS: u64 = 5_000;
/// Dead origins are looked for this often, in milliseconds.
pub const RETIRE_MS: u64 = 10_000;
/// A publisher waits at most this long for other nodes, in milliseconds.
pub const ACK_MS_MAX: u64 = 5_000;

// -- Scatter: use cases, back-ends, sub-tasks ------------------------------------------

/// The name of a use case, a parameter or a program, in bytes.
pub const USECASE_NAME_BYTES_MAX: usize = 64;
/// A use case's path, in bytes.
pub const USECASE_URL_BYTES_MAX: usize = 256;
/// Parameters of a use case.
pub const USECASE_PARAMS_MAX: usize = 32;
/// A text that a parameter is given, in bytes.
pub const PARAM_TEXT_BYTES_MAX: usize = 4 * 1024;
/// How long a request may be allowed to take, in seconds.
pub const USECASE_DEADLINE_S_MAX: u64 = 3_600;
/// Requests of one use case that may be allowed at once.
pub const USECASE_JOBS_MAX: usize = 1_024;
/// Sub-tasks of a request that may be under way at once.
pub const USECASE_PARALLEL_MAX: usize = 256;
/// Processes of a handler that a back-end may be asked to keep.
pub const USECASE_PROCESSES_MAX: usize = 64;
/// How often a sub-task may be tried again.
pub const USECASE_RETRIES_MAX: u8 = 10;
/// Use cases of a node.
pub const USECASES_MAX: usize = 256;
/// Requests that a node divides at once.
pub const JOBS_MAX: usize = 1_024;
/// Sub-tasks that a request is divided into.
pub const SPLIT_TASKS_MAX: u64 = 1_000_000;
/// Sub-tasks that those may spawn.
pub const SPAWNED_MAX: usize = 100_000;
/// …and their parameters, in bytes.
pub const SPAWNED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A line that spawns some, in bytes.
pub const SPAWN_BYTES_MAX: usize = 256 * 1024;
/// Back-ends that may be lost with a sub-task; it is not given to another then.
pub const LOST_MAX: u8 = 2;
/// Back-ends of a node.
pub const BACKENDS_MAX: usize = 256;
/// Programs of a back-end.
pub const PROGRAMS_MAX: usize = 256;
/// Bytes of a sub-task's results that may be sent before the client has taken any.
pub const WINDOW_BYTES: usize = 256 * 1024;
/// What the client has taken of them may be sent anew, in portions of so many bytes.
pub const CREDIT_BYTES: usize = WINDOW_BYTES / 4;
/// Results are sent when there are so many bytes of them…
pub const CHUNK_BYTES: usize = 128 * 1024;
/// …or after this long, in milliseconds.
pub const CHUNK_MS: u64 = 50;
/// One record, in bytes.
pub const RECORD_BYTES_MAX: usize = 512 * 1024;
/// The largest chunk: one that was nearly full when the largest record came, and what cannot be compressed grows a little.
pub const CHUNK_BYTES_MAX: usize = CHUNK_BYTES + RECORD_BYTES_MAX + 64 * 1024;
/// A frame between a front-end and a back-end: the largest chunk, or the largest line for a handler.
pub const TASK_FRAME_BYTES_MAX: usize = 2 * 1024 * 1024;
/// What waits for a back-end that does not read; beyond it the link is cut.
pub const BACKEND_OUTPUT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A handler's word that it is at work is passed on this often, in milliseconds.
pub const PROGRESS_TOLD_MS: u64 = 1_000;
/// Why an attempt failed, in bytes.
pub const FAIL_REASON_BYTES_MAX: usize = 512;
/// Late requests and silent back-ends are looked for this often, in milliseconds.
pub const SCATTER_STEP_MS: u64 = 100;
/// A front-end says that it is there this often, in milliseconds.
pub const BACKEND_PING_MS: u64 = 2_000;
/// …and a back-end what it is.
pub const BACKEND_REGISTER_MS: u64 = 2_000;
/// A link from which nothing comes for this long is cut, in milliseconds.
pub const BACKEND_SILENT_MS: u64 = 10_000;
/// A sub-task that may send and does not for this long is tried elsewhere, in milliseconds.
pub const RUN_SILENT_MS: u64 = 30_000;
/// A back-end ends by itself what is so much beyond its time, in milliseconds.
pub const RUN_GRACE_MS: u64 = 1_000;
/// A request for which there is no back-end is given up after this long, in milliseconds.
pub const STARVED_MS: u64 = 10_000;
/// Back-ends may take so long to be ready for a use case that is put, in milliseconds…
pub const PREPARE_MS_MAX: u64 = 5_000;
/// …and a handler that says nothing is thought to be ready when it has lived for this long, in milliseconds.
pub const HANDLER_SETTLE_MS: u64 = 300;
/// A handler that is told to stop may say that it has within this long, in milliseconds.
pub const HANDLER_CANCEL_MS: u64 = 300;
/// A handler whose input was closed may end within this long, in milliseconds.
pub const HANDLER_CLOSE_MS: u64 = 1_000;
/// A handler that was asked to end is killed after this long, in milliseconds.
pub const HANDLER_TERM_MS: u64 = 400;

/// A file's lines are handed out in batches of at most so many bytes…
pub const MAP_BATCH_BYTES: usize = 64 * 1024;
/// …and lines.
pub const MAP_BATCH_LINES_MAX: u64 = 100_000;
/// Results that wait for the terminal, in pieces.
pub const MAP_PIECES_MAX: usize = 8;
/// All of a file may take so long, in milliseconds: 30 days.
pub const MAP_MS_MAX: u64 = 30 * 24 * 3_600_000;
/// A line of a handler's own words in the log, in bytes.
pub const LOG_LINE_BYTES_MAX: usize = 1_000;
/// …and how many of them there are in [`HANDLER_LOOK_MS`]; the rest is counted and left out.
pub const LOG_LINES_MAX: u32 = 50;
/// What a handler's process uses is looked at this often, in milliseconds.
pub const HANDLER_LOOK_MS: u64 = 1_000;
/// The memory that a handler's process may use, in MB, unless the operator says otherwise.
pub const HANDLER_MEMORY_MB: u64 = 1_024;
/// The least that can be said; an interpreter alone takes that much.
pub const HANDLER_MEMORY_MB_MIN: u64 = 16;
/// The most.
pub const HANDLER_MEMORY_MB_MAX: u64 = 1 << 20;
/// Processes that a back-end starts before they are needed.
pub const HANDLERS_MAX: usize = 512;
/// Sub-tasks that a back-end runs at once.
pub const WORKER_SLOTS_MAX: u64 = 256;
/// A back-end that is told to stop waits for what is under way, in milliseconds.
pub const WORKER_DRAIN_MS: u64 = 30_000;

// -- The controller ------------------------------------------------------------

/// A component that ended is started again at first after this long, in milliseconds.
pub const RESTART_MS_MIN: u64 = 100;
/// …then after twice as long each time, but never longer than this.
pub const RESTART_MS_MAX: u64 = 30_000;
/// One that ran this long has not failed: the next wait is the shortest again, in milliseconds.
pub const COMPONENT_SETTLED_MS: u64 = 60_000;
/// So many ends in a row are reported as failing over and over.
pub const COMPONENT_FAILURES_MAX: u32 = 5;
/// A component that is stopped is killed after this long, in milliseconds; one that is drained after so much more than
/// it may take by itself.
pub const COMPONENT_STOP_MS: u64 = 5_000;
/// Of a group the next one is replaced when the one before has run this long, in milliseconds.
pub const COMPONENT_REPLACED_MS: u64 = 1_000;
/// Components of a controller or an agent.
pub const COMPONENTS_MAX: usize = 256;
/// Machines that a controller has agents on.
pub const AGENTS_MAX: usize = 64;
/// Front-ends that a back-end may be told to join.
pub const JOIN_MAX: usize = 64;
/// What is looked at again and again is looked at this often, in milliseconds.
pub const SUPERVISOR_STEP_MS: u64 = 200;
/// A controller to whom nothing happens looks up this often, in milliseconds.
pub const SUPERVISOR_IDLE_MS: u64 = 600_000;
/// A controller and an agent say this often that they are there, in milliseconds.
pub const AGENT_STATUS_MS: u64 = 2_000;
/// What may wait to be sent between a controller and an agent, in bytes; whoever takes no more is cut.
pub const ORDERS_BYTES_MAX: usize = 1024 * 1024;
/// Connections to the control socket.
pub const CONTROLS_MAX: usize = 16;
/// A command or what is waiting of its answer, in bytes.
pub const CONTROL_BYTES_MAX: usize = 1024 * 1024;
/// A connection to the control socket that says nothing for this long is closed, in milliseconds.
pub const CONTROL_IDLE_MS: u64 = 30_000;
/// A front-end that is told something has answered after this long, in milliseconds.
pub const CALL_MS: u64 = 2_000;
/// …or is told again after this long.
pub const CALL_AGAIN_MS: u64 = 500;
/// `pushup ctl` waits this long for what it ordered, in seconds.
pub const CTL_WAIT_S: u64 = 60;
/// A controller's own memory, in bytes.
pub const MEMORY_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

// -- Files and the terminal ----------------------------------------------------

/// A configuration, key or token file, in bytes.
pub const FILE_BYTES_MAX: u64 = 64 * 1024;
/// The terminal's client reconnects at first after this long, in milliseconds.
pub const RECONNECT_MS_MIN: u64 = 100;
/// …and at most after this long, in milliseconds.
pub const RECONNECT_MS_MAX: u64 = 10_000;
/// An answer that the terminal's client takes, in bytes.
pub const CLIENT_ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;
/// A node's name, in bytes.
pub const NODE_ID_BYTES_MAX: usize = 64;
/// The shortest cluster key, in bytes.
pub const CLUSTER_KEY_BYTES_MIN: usize = 16;
/// A cluster's name, in bytes.
pub const CLUSTER_NAME_BYTES_MAX: usize = 64;
/// The largest size that can be configured: a TiB, far beyond any node's memory.
pub const CONFIG_SIZE_BYTES_MAX: usize = 1 << 40;
/// Enough for any machine, and small enough to multiply without overflow.
pub const CONFIG_COUNT_MAX: usize = 1_000_000_000;
/// How long a stopping node may take, in seconds.
pub const DRAIN_S_MAX: u64 = 600;
/// The longest that a server's Retry-After is honoured, in seconds.
pub const CLIENT_RETRY_AFTER_S_MAX: u64 = 600;
/// How often a publication is sent at most.
pub const CLIENT_TRIES_MAX: u32 = 5;
/// How long a publication's answer may take, in seconds.
pub const CLIENT_ANSWER_S_MAX: u64 = 30;
/// A connection must stand after this long.
pub const CLIENT_CONNECT_MS_MAX: u64 = 10_000;
/// A stalled write ends after this long.
pub const CLIENT_WRITE_MS_MAX: u64 = 30_000;
/// How much longer than the poll itself its answer may take, in seconds.
pub const CLIENT_ANSWER_GRACE_S: u64 = 15;

// -- Cluster: who belongs to it (SWIM) -------------------------------------------

/// A datagram between nodes, in bytes: fits in any network's packet (RFC 8085 §3.2).
pub const DATAGRAM_BYTES_MAX: usize = 1_400;
/// Datagrams that wait to be sent; what comes on top is lost, as datagrams may be.
pub const DATAGRAMS_QUEUED_MAX: usize = 1_024;
/// Nodes that are known, also those that are gone.
pub const MEMBERS_MAX: usize = 1_024;
/// One other node is asked for a sign of life this often, in milliseconds.
pub const PROBE_MS: u64 = 1_000;
/// An answer that takes longer is sought through other nodes, in milliseconds.
pub const PROBE_ANSWER_MS: u64 = 300;
/// So many other nodes help with that, and are told of news at once.
pub const PROBE_HELPERS: usize = 3;
/// A suspected node that says nothing for this long is down, in milliseconds.
pub const SUSPECT_MS: u64 = 3_000;
/// News are told this often while there are any, in milliseconds.
pub const GOSSIP_MS: u64 = 300;
/// Nodes that are told each time.
pub const GOSSIP_MEMBERS: usize = 3;
/// A node tells the same news this often at most.
pub const GOSSIP_TOLD_MAX: u8 = 10;
/// Another node is asked for its members this often, in milliseconds.
pub const ANNOUNCE_MS: u64 = 10_000;
/// Nodes that are down are called this often, in milliseconds.
pub const ANNOUNCE_DOWN_MS: u64 = 5_000;
/// So many of them each time.
pub const ANNOUNCE_DOWN_MEMBERS: usize = 2;
/// A node that nobody talks to calls those that it heard of this often, in milliseconds.
pub const SEEK_MS: u64 = 2_000;
/// So many of them each time.
pub const SEEK_CALLS_MAX: usize = 8;
/// A node that has company calls a seed that is missing only every so many times.
pub const SEEKS_WHEN_SETTLED: u64 = 15;
/// How long a node that is down is shown, in milliseconds.
pub const MEMBER_KEPT_MS: u64 = 600_000;
/// How long a node that is down is called, in milliseconds: so long may a partition last.
pub const MEMBER_CALLED_MS: u64 = 86_400_000;
/// A node that is said to be down comes back as a new life this often at most, in milliseconds.
pub const RENEW_MS_MIN: u64 = 1_000;
/// Timers this late, in milliseconds, mean that the process stood still.
pub const STANDSTILL_MS: u64 = 2_000;
/// Nodes that are told by one that leaves.
pub const LEAVE_TOLD_MAX: usize = 64;

const _: () = {
    assert!(PROBE_ANSWER_MS * 3 < PROBE_MS, "there is time to ask others before the next probe");
    assert!(SUSPECT_MS > GOSSIP_MS * 4, "a suspected node has time to object");
    assert!(MEMBER_KEPT_MS < MEMBER_CALLED_MS);
    assert!(DATAGRAM_BYTES_MAX > 8 * (NODE_ID_BYTES_MAX + 64), "any header fits, and some members");
    assert!(HEAD_BYTES_MAX < SCRATCH_BYTES, "a head fits in one read");
    assert!(HEADER_FIELDS_MAX * 4 < HEADER_BYTES_MAX);
    assert!(CHUNK_SIZE_DIGITS_MAX <= 16, "a chunk size fits in 64 bits");
    assert!(
        CHANNELS_PER_REQUEST_MAX * (CHANNEL_NAME_BYTES_MAX + 1) > REQUEST_LINE_BYTES_MAX,
        "the request line is the tighter bound of the two"
    );
    assert!(
        CURSOR_ORIGINS_MAX * 18 + 3 < CURSOR_TEXT_BYTES_MAX * 3 / 4,
        "the largest cursor can be read back"
    );
    assert!(LINGER_MS < HEAD_MS_MAX);
    assert!(
        CHANNELS_PER_REQUEST_MAX * (CHANNEL_NAME_BYTES_MAX + 16)
            + 2 * (CONTENT_TYPE_BYTES_MAX + IDEMPOTENCY_KEY_BYTES_MAX)
            + 512
            < 64 * 1024,
        "the largest entry's meta fits in its frame"
    );
    assert!(
        6 * CLUSTER_NAME_BYTES_MAX + NODE_ID_BYTES_MAX + FEATURES_MAX * (6 * FEATURE_BYTES_MAX + 3) + 256
            < HANDSHAKE_BYTES_MAX,
        "whoever names himself at length is still understood"
    );
    assert!(JITTER_FROM_S / JITTER_DIVISOR >= 1);
    assert!(ANSWER_BYTES_MAX <= BODY_BYTES_MAX);
    assert!(TASK_FRAME_BYTES_MAX > CHUNK_BYTES_MAX + 64 * 1024, "the largest chunk fits");
    assert!(
        TASK_FRAME_BYTES_MAX > 6 * USECASE_PARAMS_MAX * PARAM_TEXT_BYTES_MAX + 64 * 1024,
        "the largest line for a handler fits, whatever must be escaped in it"
    );
    // A number of four bytes may be written again in 18.
    assert!(TASK_FRAME_BYTES_MAX > 5 * SPAWN_BYTES_MAX + 64 * 1024, "what a handler spawns fits");
    assert!(BACKEND_OUTPUT_BYTES_MAX >= 2 * TASK_FRAME_BYTES_MAX);
    assert!(POLL_TIMEOUT_S_MAX < u16::MAX as u64, "a time-out class fits in 16 bits");
};
