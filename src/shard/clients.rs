//! Who the client is, and how many polls it may have at once.
//!
//! A client is an address: the connection's peer, whom a PROXY header or `X-Forwarded-For` names if
//! the peer is trusted. Behind a proxy each request of a connection may be another's, so polls are
//! counted by request: a poll is *charged* to its client when it comes, and the charge is taken back
//! when its answer is sent or its connection is gone. Invariant: a client's count is the number of
//! connections that are charged to it. All of this is only there where the number is limited.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use super::Shard;
use super::connection::State;
use crate::config::network::Network;
use crate::error::{Refusal, Refused};
use crate::ids::ConnId;
use crate::limits::WARNING_MS;
use crate::session::route::Door;
use crate::sync::{Mutex, MutexGuard};
use crate::time::Now;
use crate::wire::http::forwarded;
use crate::wire::proxy::{self, NotProxy, Parsed};

/// What counts as one client: an IPv4 address, or the 64 bits of an IPv6 address that a site is
/// given whole (RFC 6177), within which it can choose as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Client {
    V4(u32),
    V6(u64),
}

impl Client {
    fn of(address: IpAddr) -> Client {
        match address.to_canonical() {
            IpAddr::V4(address) => Client::V4(address.to_bits()),
            IpAddr::V6(address) => Client::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// What is known of one connection.
#[derive(Clone, Copy, Debug)]
struct Place {
    peer: IpAddr,
    /// Whose request is being answered.
    client: Client,
    /// Whether `X-Forwarded-For` is believed.
    forwards: bool,
    /// Whether its poll is among those that are counted.
    charged: bool,
}

/// Polls that are held or being answered, by client, of all shards of the node; none is 0.
#[derive(Clone, Debug, Default)]
pub(super) struct Polls(Arc<Mutex<BTreeMap<Client, usize>>>);

impl Polls {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Client, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The clients of all connections, where polls are limited.
#[derive(Debug)]
pub(super) struct Clients {
    /// By the connection's index.
    places: Vec<Option<Place>>,
    known: usize,
    polls: Polls,
}

impl Clients {
    pub(super) fn new(polls: Polls) -> Clients {
        Clients { places: Vec::new(), known: 0, polls }
    }

    /// Memory in use, in bytes; a tree's nodes are at least half full.
    pub(super) fn bytes(&self) -> usize {
        self.known * size_of::<Option<Place>>() + self.polls.lock().len() * 2 * size_of::<(Client, usize)>()
    }

    /// How many polls are counted; that they are what stands at the connections is checked.
    #[cfg(test)]
    pub(super) fn check(&self) -> usize {
        let mut polls = BTreeMap::new();
        for place in self.places.iter().flatten().filter(|place| place.charged) {
            *polls.entry(place.client).or_insert(0) += 1;
        }
        assert_eq!(*self.polls.lock(), polls);
        assert_eq!(self.known, self.places.iter().flatten().count());
        polls.values().sum()
    }

    fn place(&mut self, index: u32) -> Option<&mut Place> {
        self.places.get_mut(index as usize)?.as_mut()
    }

    fn insert(&mut self, index: u32, peer: IpAddr, forwards: bool) {
        let at = index as usize;
        if self.places.len() <= at {
            self.places.resize(at + 1, None);
        }
        if let Some(place) = self.places.get_mut(at) {
            let fresh = Place { peer, client: Client::of(peer), forwards, charged: false };
            self.known += usize::from(place.replace(fresh).is_none());
        }
    }

    fn remove(&mut self, index: u32) {
        self.release(index);
        let place = self.places.get_mut(index as usize).and_then(Option::take);
        self.known -= usize::from(place.is_some());
    }

    /// Counts a poll, unless its client has `most` already.
    fn charge(&mut self, index: u32, most: usize) -> Result<(), Refusal> {
        self.release(index);
        // Whoever came before there was a limit is not known, and not counted.
        let Some(place) = self.place(index) else { return Ok(()) };
        let client = place.client;
        let mut polls = self.polls.lock();
        let count = polls.get(&client).copied().unwrap_or(0);
        if count >= most {
            return Err(Refusal::PollsTooMany);
        }
        polls.insert(client, count + 1);
        drop(polls);
        if let Some(place) = self.place(index) {
            place.charged = true;
        }
        Ok(())
    }

    /// Takes back what a connection is charged with, if anything.
    fn release(&mut self, index: u32) {
        let Some(place) = self.place(index) else { return };
        if !std::mem::take(&mut place.charged) {
            return;
        }
        let client = place.client;
        let mut polls = self.polls.lock();
        match polls.get_mut(&client) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(polls.remove(&client)),
        }
    }
}

// -- Polls ---------------------------------------------------------------------------

impl Shard {
    /// Where a connection that was just opened comes from. To be told before its input.
    pub fn handle_peer(&mut self, id: ConnId, peer: IpAddr) {
        let (Some(index), Some(clients)) = (self.find(id), &mut self.clients) else { return };
        let door = self.connections[index as usize].door;
        if door != Door::Publisher {
            let trusted = &self.settings.trusted_proxies;
            clients.insert(index, peer, door == Door::Public && Network::any_contains(trusted, peer));
        }
    }

    /// Finds out whose request it is that has this head. The one before it is answered.
    pub(super) fn identify(&mut self, index: u32, head: &[u8]) {
        let Some(clients) = &mut self.clients else { return };
        clients.release(index);
        if let Some(place) = clients.place(index)
            && place.forwards
        {
            place.client = Client::of(forwarded::client(head, place.peer, &self.settings.trusted_proxies));
        }
    }

    /// Counts a poll that came, or refuses it.
    pub(super) fn charge_poll(&mut self, index: u32) -> Result<(), Refused> {
        let Some(clients) = &mut self.clients else { return Ok(()) };
        clients.charge(index, self.settings.polls_per_client_max).map_err(|refusal| {
            self.counters.requests_limited += 1;
            refusal.into()
        })
    }

    /// A connection's poll, if it had one, is answered.
    pub(super) fn release_poll(&mut self, index: u32) {
        if let Some(clients) = &mut self.clients {
            clients.release(index);
        }
    }

    /// A connection is no more.
    pub(super) fn forget_client(&mut self, index: u32) {
        if let Some(clients) = &mut self.clients {
            clients.remove(index);
        }
    }

    /// Begins or ceases to count when the limit was set or taken away.
    pub(super) fn reconfigure_clients(&mut self) {
        let limited = self.settings.polls_per_client_max > 0;
        if let Some(clients) = self.clients.as_mut().filter(|_| !limited) {
            // Other shards go on counting in the same place.
            (0..clients.places.len()).for_each(|index| clients.release(index as u32));
        }
        let fresh = || Clients::new(self.polls.clone());
        self.clients = limited.then(|| self.clients.take().unwrap_or_else(fresh));
    }

    /// Counts polls together with other shards.
    pub(super) fn share_polls(&mut self, polls: Polls) {
        self.polls = polls;
        self.clients = None;
        self.reconfigure_clients();
    }
}

// -- Proxies -------------------------------------------------------------------------

impl Shard {
    /// Whether a caller at the proxies' listener is to be taken in.
    pub fn admits_proxy(&mut self, peer: IpAddr, now: Now) -> bool {
        let trusted = Network::any_contains(&self.settings.trusted_proxies, peer);
        if !trusted {
            self.note_refused_proxy(format_args!("{} is no trusted proxy", peer.to_canonical()), now);
        }
        trusted
    }

    /// The PROXY header that a connection begins with: how much of the input is done with, or `None`
    /// if there is not all of it.
    pub(super) fn take_proxy_header(&mut self, index: u32, input: &[u8], now: Now) -> Option<usize> {
        match proxy::parse(input) {
            Ok(Parsed::Partial) => None,
            Ok(Parsed::Complete { len, client }) => {
                let slot = self.slot_mut(index);
                slot.door = Door::Public;
                slot.state = State::Idle;
                let place = self.clients.as_mut().and_then(|clients| clients.place(index));
                if let (Some(place), Some(client)) = (place, client) {
                    place.client = Client::of(client);
                }
                Some(len)
            }
            Err(reason) => {
                let what = match reason {
                    NotProxy::Absent => "it does not begin with a PROXY header",
                    NotProxy::Malformed => "its PROXY header is malformed",
                    NotProxy::TooLong => "its PROXY header is too long",
                };
                self.refuse_proxy(index, what, now);
                Some(input.len())
            }
        }
    }

    /// Closes a connection without a PROXY header: there is no telling what it speaks.
    pub(super) fn refuse_proxy(&mut self, index: u32, what: &str, now: Now) {
        self.note_refused_proxy(format_args!("{what}"), now);
        self.remove(index);
    }

    fn note_refused_proxy(&mut self, what: std::fmt::Arguments, now: Now) {
        self.counters.proxies_refused += 1;
        if self.proxy_warned.is_none_or(|warned| now.tick.since_ms(warned) >= WARNING_MS) {
            self.proxy_warned = Some(now.tick);
            let count = self.counters.proxies_refused;
            log::warn!("closing a connection to the proxies' listener: {what}; {count} so far");
        }
    }
}
