//! What the coordinator does with what it is asked and answered, and what follows from its flights.

use super::super::direct::{DirectLoad, Met};
use super::*;

impl Coordinator {
    pub(super) fn begin(&mut self, command: Command) {
        let Command {
            load,
            wanted,
            callers,
            work,
        } = command;
        let direct = self.ends.direct.running();
        let waiting = self.callers.len() + self.ends.direct.waiting() + callers.len();
        // Who joins is no load more, nor is who waits for another process.
        let is_known = |key| self.flights.knows(key) || self.ends.direct.knows(key);
        let full = self.flights.under_way() + direct >= self.bounds.loads
            && !wanted.iter().all(|wanted| is_known(&wanted.key));
        if full || waiting > self.bounds.callers {
            let busy = Error::Unavailable(Cause::new(TooMany));
            for caller in callers {
                hand(caller, Answer::Failed(Failure::Store(busy.clone())));
            }
            hand(work.unused, work.loader);
            return;
        }
        let Work {
            names,
            timeout,
            retry_after,
            loader,
            unused,
        } = work;
        let ids = wanted.iter().filter_map(|wanted| wanted.caller);
        let span = loader.span_of_call();
        let tie = if callers.is_empty() {
            Tie::Refresh
        } else {
            Tie::Awaited
        };
        let callers = callers.into_iter().map(|answer| Caller {
            answer,
            span: span.clone(),
        });
        self.callers.extend(ids.zip(callers));
        let has_contexts = loader.has_contexts;
        let terms = Terms {
            names: names.to_vec(),
            retry_after,
            has_contexts,
        };
        self.loads.insert(
            load,
            Load {
                names,
                timeout,
                has_contexts,
                held: Map::default(),
                loader: Some(loader),
                unused,
                tie,
                link: LoadLink::default(),
                joined: Vec::new(),
                made: Map::default(),
                failure: None,
            },
        );
        self.change(|flights, now, effects| flights.begin(load, terms, wanted, now, effects));
    }

    /// Takes note of a notice.
    pub(super) fn hear(&mut self, notice: Notice) {
        match notice {
            Notice::Left {
                key,
                caller,
                load_goes_on,
            } => {
                self.callers.remove(&caller);
                self.change(|flights, _, effects| {
                    if load_goes_on {
                        flights.overdue(&key, caller);
                    } else {
                        flights.left(&key, caller, effects);
                    }
                });
            }
            Notice::Abandoned { load, key, names } => self.end_lease(load, key, names, Given::No),
            Notice::Succeeded(key) => self.change(|flights, _, effects| flights.succeeded(&key, effects)),
            Notice::Landed(landed) => self.landed(*landed),
            Notice::GivenOut { keys, noted } => {
                for key in &keys {
                    self.change(|flights, _, effects| flights.given_out(key, effects));
                }
                // The caller may have gone.
                let _ = noted.send(());
            }
        }
    }

    /// Goes on with a direct load that has ended as with one of its own.
    fn landed(&mut self, landed: Landed) {
        let Landed {
            load, key, caller, ..
        } = landed;
        let (marks, has_contexts) = self.ends.direct.remove(load, &key);
        let terms = Terms {
            names: landed.names.to_vec(),
            retry_after: landed.retry_after,
            has_contexts,
        };
        self.adopt(load, &key, landed.names, LoadLink::default(), terms, marks);
        // A load and a caller never have the same number.
        let caller = Caller {
            answer: caller,
            span: None,
        };
        self.callers.insert(load, caller);
        self.flights.embark(load, &key, load);
        match (landed.made, landed.fate) {
            (Ok(made), Some(fate)) => {
                let late = made.has_late_names();
                if let Some(load) = self.loads.get_mut(&load) {
                    load.made.insert(key.clone(), made);
                }
                self.change(|flights, now, effects| {
                    flights.succeeded(&key, effects);
                    flights.stored(load, &key, fate, late, now, effects);
                });
            }
            (made, _) => self.loaded(load, made.map(|made| vec![(key, made)])),
        }
    }

    /// Makes a direct load known to the flights, so that callers can wait for it.
    fn adopt(&mut self, load: LoadId, key: &Key, names: Names, link: LoadLink, terms: Terms, marks: Marks) {
        if self.loads.contains_key(&load) {
            return;
        }
        let has_contexts = terms.has_contexts;
        self.flights.adopt(load, key, terms, marks);
        let (unused, _) = oneshot::channel();
        self.loads.insert(
            load,
            Load {
                names,
                timeout: Duration::ZERO,
                has_contexts,
                held: Map::default(),
                loader: None,
                unused,
                tie: Tie::Awaited,
                link,
                joined: Vec::new(),
                made: Map::default(),
                failure: None,
            },
        );
    }

    pub(super) fn lease_answered(&mut self, asking: LoadId, key: &Key, answer: Result<LeaseAnswer>) {
        let answer = match answer {
            Ok(LeaseAnswer::Taken { present }) => {
                let needed = calls_for_load(self.flights.seen(key), present.as_ref());
                if let Some(load) = self.loads.get_mut(&asking)
                    && load.has_contexts
                    && let Some(present) = present
                {
                    load.held.insert(key.clone(), present);
                }
                flight::Answer::Taken { needed }
            }
            Ok(LeaseAnswer::Held { token, remaining }) => match self.ends.direct.load_of(token) {
                Some(load) if self.loads.contains_key(&load) => flight::Answer::HeldHere(load),
                Some(load) => match self.ends.direct.meet(load, key) {
                    Met::Running { load: direct, marks } => {
                        let terms = Terms {
                            names: direct.names.to_vec(),
                            retry_after: direct.retry_after,
                            has_contexts: direct.has_contexts,
                        };
                        self.adopt(load, key, direct.names, direct.link, terms, marks);
                        flight::Answer::HeldHere(load)
                    }
                    Met::Revoked(DirectLoad { names, .. }) => {
                        self.end_lease(load, key.clone(), names, Given::No);
                        return self.take(asking, key.clone());
                    }
                    // The flights do not know it any more either.
                    Met::Ended => {
                        self.meet_ended(load, key);
                        flight::Answer::HeldHere(load)
                    }
                },
                None => flight::Answer::HeldAbroad(remaining),
            },
            Ok(LeaseAnswer::Stored(_) | LeaseAnswer::Ended) => {
                flight::Answer::Failed(Error::Unavailable(Cause::new(Unexpected)))
            }
            Err(error) => flight::Answer::Failed(error),
        };
        self.change(|flights, now, effects| flights.answered(key, answer, now, effects));
    }

    /// Ends the lease of a load that has ended, if the engine names it a second time: the engine has failed to end it. The
    /// first time, its end was on its way.
    fn meet_ended(&mut self, load: LoadId, key: &Key) {
        if self.strays.len() >= STRAYS {
            self.strays.clear();
        }
        if self.strays.insert(key.clone(), load) == Some(load) {
            self.strays.remove(key);
            // What it made may have been given out.
            self.end_lease(load, key.clone(), Names::default(), Given::Yes);
        }
    }

    pub(super) fn store_answered(&mut self, load: LoadId, key: &Key, answer: Result<LeaseAnswer>) {
        let fate = match answer {
            Ok(LeaseAnswer::Stored(true)) => Fate::Stored,
            Ok(_) => {
                count(&self.ends.counters.dead_leases);
                Fate::Superseded
            }
            Err(error) => {
                tracing::debug!(?key, %error, "a loaded value could not be stored");
                Fate::NotStored
            }
        };
        let made = self.loads.get(&load).and_then(|load| load.made.get(key));
        let late = made.is_some_and(Made::has_late_names);
        self.change(|flights, now, effects| flights.stored(load, key, fate, late, now, effects));
    }

    pub(super) fn loaded(&mut self, id: LoadId, made: std::result::Result<Vec<(Key, Made)>, Failure>) {
        let Some(load) = self.loads.get_mut(&id) else {
            return;
        };
        match made {
            Ok(made) => {
                load.made = made.into_iter().collect();
                let is_unreadable = |(key, made): &(&Key, &Made)| {
                    let unreadable = made.form != Form::Stored;
                    if unreadable {
                        tracing::warn!(
                            ?key,
                            "a loaded value does not decode again: it is given out and not stored"
                        );
                    }
                    unreadable
                };
                let unreadable = load.made.iter().filter(is_unreadable).count();
                self.ends
                    .counters
                    .unreadable
                    .fetch_add(unreadable as u64, Ordering::Relaxed);
                let product = |made: &Made| Product {
                    stored: made.stored,
                    kept: made.kept,
                    late: made.has_late_names(),
                };
                let products: Map<Key, Product> = load
                    .made
                    .iter()
                    .map(|(key, made)| (key.clone(), product(made)))
                    .collect();
                self.change(|flights, now, effects| {
                    flights.loaded(id, |key| products.get(key).copied(), now, effects);
                });
            }
            Err(failure) => {
                count(&self.ends.counters.failures);
                load.failure = Some(failure);
                self.change(|flights, now, effects| flights.failed(id, now, effects));
            }
        }
    }

    /// Changes the flights, and carries out what follows.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Flights, Duration, &mut Vec<Effect>)) {
        let mut effects = Vec::new();
        let now = self.origin.elapsed();
        change(&mut self.flights, now, &mut effects);
        for effect in effects {
            self.carry_out(effect);
        }
        let led = self.flights.under_way();
        self.ends.direct.publish(led, self.callers.len());
    }

    pub(super) fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Take(load, key) => self.take(load, key),
            Effect::Start(load, keys) => self.start(load, keys),
            Effect::Store(load, key) => self.store(load, key),
            Effect::End(load, key, given) => self.end(load, key, given),
            Effect::Forget(load) => {
                let Some(load) = self.loads.remove(&load) else {
                    return;
                };
                if let Some(loader) = load.loader {
                    hand(load.unused, loader);
                }
            }
            Effect::Tell(caller, told) => self.tell(caller, told),
            Effect::Joined(load, caller) => self.joined(load, caller),
            Effect::Failing(load, key, is_first) => {
                self.ends.direct.note_failure(&key);
                let failure = self.loads.get(&load).and_then(|load| load.failure.as_ref());
                match failure {
                    Some(failure) if is_first => tracing::warn!(?key, %failure, "a load failed"),
                    Some(failure) => tracing::debug!(?key, %failure, "a load failed again"),
                    None => {}
                }
            }
            Effect::Disown(key) => {
                for direct in self.ends.direct.disown(&key) {
                    self.end_lease(direct.load, direct.key, direct.names, Given::Yes);
                }
            }
            Effect::Outdate(key) => self.ends.direct.outdate(&key),
            Effect::KeepNothing => self.unknown.count_one(),
            Effect::Recovered(key) => tracing::warn!(?key, "loads succeed again"),
            Effect::Subscribe(key) => {
                let name: Arc<str> = Arc::from(key.as_str());
                self.subscribed.insert(name.clone(), key);
                self.subscribe(Subscription::Begin(Subject::Lease(name)));
            }
            Effect::Unsubscribe(key) => {
                if let Some((name, _)) = self.subscribed.remove_entry(key.as_str()) {
                    self.subscribe(Subscription::End(Subject::Lease(name)));
                }
            }
        }
    }

    fn take(&mut self, id: LoadId, key: Key) {
        let Some(load) = self.loads.get(&id) else { return };
        let action = LeaseAction::Take {
            key: key.clone(),
            terms: LeaseTerms {
                token: self.ends.direct.token(id),
                names: load.names.clone(),
                ttl: load.timeout,
                late_names: load.has_contexts,
            },
        };
        self.ask(Asked::Take(id, key), action);
    }

    /// Runs a loader in a task of its own, so that whatever becomes of it nobody else notices.
    fn start(&mut self, id: LoadId, keys: Vec<Key>) {
        let Some(load) = self.loads.get_mut(&id) else {
            return;
        };
        let Some(loader) = load.loader.take() else { return };
        count(&self.ends.counters.loads);
        let within = load.timeout;
        let meters = self.ends.counters.meters.clone();
        let mut held = std::mem::take(&mut load.held);
        let keys = keys.into_iter().map(|key| ToLoad {
            held: held.remove(&key),
            key,
        });
        let keys = keys.collect();
        let leases = HeldLeases {
            engine: self.engine.clone(),
            token: self.ends.direct.token(id),
            limit: Instant::now() + within,
            unknown: self.unknown.clone(),
            unknown_before: self.unknown.count(),
        };
        // It is opened here, so that there is one for those who join the load from now on.
        let span = contained(|| loader.open_span(load.tie));
        if let Some(span) = &span {
            load.link = span.link();
        }
        let joined = std::mem::take(&mut load.joined);
        contained(|| joined.into_iter().for_each(|call| load.link.joined(call)));
        let task = self.tasks.spawn(async move {
            let running = meters.load_begins();
            let load = async {
                let made = timeout(within, loader.call(keys, Some(leases))).await;
                made.unwrap_or(Err(Failure::Timeout))
            };
            let made = match span {
                Some(span) => span.over(load).await,
                None => load.await,
            };
            running.end();
            made
        });
        self.running.insert(task.id(), id);
    }

    /// Links the span of a load to a caller who joins it.
    fn joined(&mut self, load: LoadId, caller: CallerId) {
        let Some(call) = self.callers.get(&caller).and_then(|caller| caller.span.clone()) else {
            return;
        };
        match self.loads.get_mut(&load) {
            Some(load) if load.loader.is_some() => load.joined.push(call),
            Some(load) => drop(contained(|| load.link.joined(call))),
            None => {}
        }
    }

    fn store(&mut self, id: LoadId, key: Key) {
        let Some(load) = self.loads.get(&id) else { return };
        let Some(made) = load.made.get(&key) else { return };
        let write = Write {
            key: key.clone(),
            value: made.value.clone(),
            ttl: made.ttl,
            depends_on: made.depends_on(&load.names),
        };
        let token = self.ends.direct.token(id);
        self.ask(Asked::Store(id, key), LeaseAction::Fulfil { token, write });
    }

    pub(super) fn end(&mut self, id: LoadId, key: Key, given: Given) {
        let Some(load) = self.loads.get(&id) else { return };
        let names = load.made.get(&key).map(|made| made.depends_on(&load.names));
        let names = names.unwrap_or_else(|| load.names.clone());
        self.end_lease(id, key, names, given);
    }

    pub(super) fn end_lease(&mut self, load: LoadId, key: Key, names: Names, given: Given) {
        let asked = Asked::End(given, key.clone());
        let action = LeaseAction::End {
            key,
            token: self.ends.direct.token(load),
            names,
            given: given == Given::Yes,
        };
        self.ask(asked, action);
    }

    fn ask(&mut self, asked: Asked, action: LeaseAction) {
        let step = Box::new(action);
        self.pending.ask(asked, Lease { step });
    }

    fn tell(&mut self, caller: CallerId, told: Told) {
        let Some(caller) = self.callers.remove(&caller) else {
            return;
        };
        let answer = match told {
            Told::Loaded { load, key, fate, own } => {
                let made = self.loads.get(&load).and_then(|load| load.made.get(&key));
                match made.filter(|made| own || made.form != Form::Unreadable) {
                    Some(made) => Answer::Loaded {
                        made: made.clone(),
                        fate,
                        own,
                    },
                    // A caller who joined has a loader of their own.
                    None => Answer::Unreadable,
                }
            }
            Told::Absent { own } => Answer::Absent { own },
            Told::Failed(load) => {
                let load = self.loads.get(&load);
                let failure = load.and_then(|load| load.failure.clone());
                Answer::Failed(failure.unwrap_or(Failure::Panicked))
            }
            Told::Refused(failure) => Answer::Failed(Failure::Engine(failure.0)),
            Told::LookAgain => Answer::LookAgain,
            Told::ServeStale => Answer::ServeStale,
        };
        if let Answer::Loaded { own: false, .. } = answer {
            count(&self.ends.counters.joins);
        }
        hand(caller.answer, answer);
    }

    fn subscribe(&self, subscription: Subscription) {
        if let Some(notifications) = &self.notifications {
            // Without it, who waits asks again after a while.
            let _ = notifications.subscriptions.send(subscription);
        }
    }
}

/// Hands something to a caller, who may have gone, and whose waker may be anything.
fn hand<T>(caller: oneshot::Sender<T>, what: T) {
    contained(|| drop(caller.send(what)));
}

#[derive(Debug, thiserror::Error)]
#[error("too many loads are under way, or too many wait for them: see max_loads and max_load_waiters")]
struct TooMany;

#[derive(Debug, thiserror::Error)]
#[error("the engine's answer is not to what it was asked")]
struct Unexpected;
