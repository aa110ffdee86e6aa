//! What the coordinator does for its flights: it carries out their effects.

use super::*;

impl Coordinator {
    /// Changes the flights, and carries out what follows.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Flights, Duration, &mut Vec<Effect>)) {
        let mut effects = Vec::new();
        let now = self.origin.elapsed();
        change(&mut self.flights, now, &mut effects);
        // A caller who is told to look again may need its loader at once.
        for effect in &effects {
            if let Effect::Forget(load) = effect {
                self.hand_back(*load);
            }
        }
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
            Effect::Forget(load) => drop(self.loads.remove(&load)),
            Effect::Tell(caller, told) => self.tell(caller, told),
            Effect::Joined(load, caller) => self.joined(load, caller),
            Effect::Failing(load, key, is_first) => {
                self.ends.direct.failed().add(&key);
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

    /// Gives an unused loader back to its caller.
    fn hand_back(&mut self, load: LoadId) {
        let load = self.loads.get_mut(&load);
        if let Some(load) = load
            && let Some(loader) = load.loader.take()
            && let Some(unused) = load.unused.take()
        {
            hand(unused, loader);
        }
    }

    pub(super) fn take(&mut self, id: LoadId, key: Key) {
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
        let span = loader.open_span(load.tie);
        load.link = span.link();
        let joined = std::mem::take(&mut load.joined);
        joined.into_iter().for_each(|call| load.link.joined(call));
        let task = self.tasks.spawn(async move {
            let running = meters.load_begins();
            let load = async {
                let made = timeout(within, loader.call(keys, Some(leases))).await;
                made.unwrap_or(Err(Failure::Timeout))
            };
            let made = span.over(load).await;
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
            Some(load) if load.loader.is_none() => load.link.joined(call),
            Some(load) if load.joined.len() < MOST_LINKS => load.joined.push(call),
            _ => {}
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
pub(super) fn hand<T>(caller: oneshot::Sender<T>, what: T) {
    contained(|| drop(caller.send(what)));
}
