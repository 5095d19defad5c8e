/* Fencing, freshness and latch together: two writers, gates that restart, and a controller that retains.

   One pump. Whatever may happen happens in any order: messages are lost, delayed, reordered and repeated; a writer
   that was replaced speaks on; gates die and start; the disk and the database go away and come back; people set and
   clear stops; the controller loses power. spin looks at every order. Run by test_fencing_model.py.

   WHICH STEP IS WHICH CODE                                                                          replayed
     arrives(g)       any setpoint that either writer may ever have sent, at any time, any number of times:  -
                      either epoch (the newer one once it is issued), a tick of any age, decided at once
                      (k = 0) or again on the old tick (k = 1, after a change of the latch: the lease is
                      never renewed), knowing any of the stops and of the clears there ever were
     offer(g)         actors/publisher/gate.py: offer, _take, _refreshed                               yes
     display(g)       gate.py: advance, alive; actors/publisher/image.py: image, _after_inhibit        yes
     release          actors/safety/latch.py: LatchSet.release_id                                      yes
     learn(g)         latch.py: LatchSet.merge, of any copy of any age (StopsChanged)                  yes
     poll(g), store(g) actors/publisher/stop_desk.py: poll, make_durable; storage/latches.py           -
     start(g)         actors/publisher/actor.py: start, _configure; stop_desk.py: load                 yes (law)
     set_stop, clear  publisher/actor.py: _set_stop; api/stops.py: a clear is durable before it counts -
     join             actors/storage/joining.py: join; stop_desk.py: joined                            -
     read, scan       ops/demo/plc.py: receive, obeys, scan: what a real controller must do            yes
   "yes": test_fencing_conformance.py takes random walks of this model and asks the real functions at each step.

   WHAT IS LEFT OUT: the third lapse's wait of 60 s; the ramp after a clear (here: the pump may run or not); several
   pumps; clocks of other boots. A value is 0 or not.

   TIME is counted in ticks, LEASE of which make a lease; only ages are kept, and none above OLD = LEASE + 1, which is
   too old for everything. A sequence is (age of its origin, k): a younger origin is a higher sequence, which is how
   one safety actor counts. So the model is finite and yet runs for ever.

   BREAK_x takes one protection out; spin must then find a way to break a property. The default has all of them. */

#ifndef NG
#define NG 1            /* gates; the controller reads gate 0 */
#endif
#ifndef NS
#define NS 1            /* stops that may be set, each once */
#endif
#define LEASE 2
#define OLD 3
#ifndef FRESH
#define FRESH 2         /* setpoints that end a lapse: 3 in the code; 2 find the same and cost less */
#endif
#define HEARTBEAT 2
#define LONG 6          /* LEASE + HEARTBEAT + 1 + 1: no value the controller obeys is that old */
#define BACK 7          /* ticks within which service must be back once nothing fails any more */
#define ALL ((1 << NS) - 1)

typedef Gate {
  bit up; bit whole;
  unsigned floor : 2;                                  /* the lowest epoch it still takes */
  unsigned epoch : 2; unsigned age : 2; unsigned k : 1; unsigned stops : NS;   /* the last setpoint; epoch 0: none */
  unsigned crel : 4;                                   /* the release number that its decider knew */
  unsigned newest : 2;                                 /* age of the newest origin */
  bit lapsed; unsigned fresh : 2;
  bit beat;                                            /* the heartbeat differs from what the controller read */
  unsigned set : NS; unsigned clr : NS;                /* its copy of the latch */
  unsigned seen : 2;                                   /* ticks since it last showed a stop of its own */
  unsigned rel : 4;                                    /* release_id as shown last; 15: nothing yet */
#ifdef BREAK_SEED
  unsigned base : 4;                                   /* a release number that no person's clear has given */
#endif
  unsigned held : NS;                                  /* what the disk has not got from it yet */
#ifdef BREAK_LEASE_FROM_ARRIVAL
  unsigned arrived : 2;
#endif
  /* what only the proof knows */
  unsigned newest_epoch : 2; unsigned knew : NS
};

Gate g[NG];

unsigned issued : 2 = 1;            /* the epoch file: the last epoch issued */
bit successor;                      /* the new writer has its epoch; its predecessor may speak on */
bit disk = 1;                       /* whether the disk takes and gives */
unsigned f_set : NS, f_clr : NS;    /* the latch folder */
bit lost;                           /* the folder was lost once */
bit f_joined = 1;                   /* it holds all that the database holds (its mark: joined) */
unsigned d_set : NS, d_clr : NS;    /* the database */
#ifdef BREAK_SEED
unsigned floor_rel : 4 = 1;         /* the second in which the folder was made */
#endif
unsigned stamp : 4 = 1;             /* the last number issued; seeded with the second, it never goes back */
byte set_at[NS];
byte rel_at[NS];

/* the controller: what it retains, what it lost with its power, and its pump */
bit p_inh; unsigned p_rel : 4; unsigned p_epoch : 2;
bit p_heard; unsigned p_moved : 2 = OLD; bit p_en; bit p_value;
bit p_runs;

/* what only the proof knows */
unsigned stopped : NS, cleared : NS;    /* what people did */
unsigned acked : NS;                    /* stops that were answered as durable */
unsigned p_saw : NS;                    /* stops that the controller was shown since it last let go */
unsigned p_age : 3 = LONG;              /* age of the origin of the value that the controller holds */
bit over; unsigned quiet : 3; bit mischief;

/* A random walk, unlike a search, meets nothing of interest if everything dies at every turn. */
#ifdef WALK
unsigned turn : 4;
#define RARE (turn == 0)
#else
#define RARE true
#endif

/* a message that arrives */
unsigned c_epoch : 2; unsigned c_age : 2; bit c_k; unsigned c_stops : NS; unsigned c_clr : NS; unsigned c_rel : 4;

/* what is shown, recomputed at each look */
hidden byte v_en, v_inh, v_value, v_alive, v_own, v_moved;
hidden byte v_rel, v_epoch, i, j, lowest, took, v_stops;

#define older(a) a = (a < OLD -> a + 1 : a)

/* The newest release number that who knows these stops and clears may show; 0: none. */
inline release(its_set, its_clr) {
  lowest = 15; v_rel = 0;
  for (i : 0 .. NS - 1) {
    if :: (its_set >> i & 1) && !(its_clr >> i & 1) && set_at[i] < lowest -> lowest = set_at[i] :: else fi
  }
  for (i : 0 .. NS - 1) {
    if :: (its_clr >> i & 1) && rel_at[i] <= lowest && rel_at[i] > v_rel -> v_rel = rel_at[i] :: else fi
  }
}

inline display(x) {
  if :: g[x].epoch && g[x].age > LEASE -> g[x].lapsed = 1; g[x].fresh = 0 :: else fi;
#if defined(BREAK_LEASE)
  v_alive = g[x].epoch != 0;
#elif defined(BREAK_LEASE_FROM_ARRIVAL)
  v_alive = g[x].epoch && g[x].arrived <= LEASE;
#else
  v_alive = g[x].epoch && !g[x].lapsed && g[x].age <= LEASE;
#endif
  v_own = (g[x].set & ~g[x].clr & ALL) != 0;
  v_en = v_alive;
  v_value = v_alive && g[x].stops == 0 && !v_own;
#ifdef BREAK_LATCH_BELOW_LEASE
  v_value = v_alive && g[x].stops == 0;
  v_own = v_own && !v_alive;
#endif
  if
  :: v_own -> g[x].seen = 0
  :: !v_own && g[x].seen != OLD && !(g[x].newest < g[x].seen) -> v_value = 0
  :: else
  fi;
  release(g[x].set, g[x].clr);
#ifndef BREAK_SPENT
  /* The chain's word about a stop counts where it knew every clear that we know: else its number may be spent. */
  v_inh = v_own || (v_alive && g[x].stops != 0 && g[x].crel >= v_rel);
#else
  v_inh = v_own || (v_alive && g[x].stops != 0);
#endif
  v_stops = (g[x].set & ~g[x].clr & ALL) | (v_alive -> g[x].stops : 0);
#ifdef BREAK_SEED
  if :: g[x].base > v_rel -> v_rel = g[x].base :: else fi;
#endif
#ifndef BREAK_HALF
  /* Of some clears without all stops nobody can say what they let go. */
  if :: !g[x].whole -> v_rel = 0 :: else fi;
#endif
#ifndef BREAK_RELEASE_AT_ONCE
  if :: v_inh && g[x].rel != 15 -> v_rel = g[x].rel :: else fi;
#endif
  g[x].rel = v_rel;
  v_epoch = (g[x].epoch -> g[x].epoch : g[x].floor);
  printf("SHOW %d en=%d inh=%d value=%d rel=%d epoch=%d\n", x, v_en, v_inh, v_value, v_rel, v_epoch);
  /* No value older than the lease is on the wire as enabled (SAF-9). */
  assert(!v_en || g[x].age <= LEASE);
  /* A stop that is not cleared is never lost at a gate: it shows (EST-2, EST-6). */
  assert(!g[x].whole || (g[x].knew & ~cleared & ~g[x].set & ALL) == 0);
  assert((g[x].set & stopped & ~cleared & ALL) == 0 || (v_inh && !v_value))
}

inline look(x) {
  if
  :: g[x].up -> display(x)
  :: else
  fi
}

/* The gate is offered the setpoint (c_epoch, c_age, c_k, c_stops). */
inline offer(x) {
  took = 0;
  if :: g[x].epoch && g[x].age > LEASE -> g[x].lapsed = 1; g[x].fresh = 0 :: else fi;
  if
  :: !g[x].whole -> skip
#ifndef BREAK_EPOCH_AT_GATE
  :: g[x].whole && (c_epoch < g[x].floor || c_epoch < g[x].epoch) -> skip
#endif
#ifndef BREAK_SEQUENCE
  :: g[x].whole && c_epoch == g[x].epoch && (c_age > g[x].age || (c_age == g[x].age && c_k <= g[x].k)) -> skip
#else
  :: g[x].whole && c_epoch == g[x].epoch && c_age == g[x].age && c_k == g[x].k -> skip
#endif
  :: else ->
     if
#ifndef BREAK_STALE
     :: c_age > LEASE -> skip
#endif
     :: else ->
        took = 1;
        /* No value of an older epoch after a newer one was accepted, also not across a restart (SAF-11). */
        assert(c_epoch >= g[x].newest_epoch);
        /* Nor an older decision of the same speaker. */
        assert(c_epoch != g[x].epoch || c_age < g[x].age || (c_age == g[x].age && c_k > g[x].k) || c_age > LEASE);
        g[x].newest_epoch = (c_epoch > g[x].newest_epoch -> c_epoch : g[x].newest_epoch);
        v_moved = c_age < g[x].newest || (c_age == OLD && g[x].newest == OLD);
#ifdef BREAK_LEASE_FROM_ARRIVAL
        g[x].arrived = 0;
#endif
        g[x].epoch = c_epoch; g[x].age = c_age; g[x].k = c_k; g[x].stops = c_stops; g[x].crel = c_rel;
        g[x].floor = (c_epoch > g[x].floor -> c_epoch : g[x].floor);
        if
        :: v_moved ->
           /* The heartbeat proves the whole chain: it moves by a tick that is fresh and newer (WDG-4). */
           assert(c_age <= LEASE);
           g[x].newest = c_age; g[x].beat = 1;
           if
           :: g[x].lapsed -> g[x].fresh++;
#ifndef BREAK_RECOVERY
              if :: g[x].fresh >= FRESH -> g[x].lapsed = 0; g[x].fresh = 0 :: else fi
#else
              g[x].fresh = 0
#endif
           :: else -> g[x].fresh = 0
           fi
        :: else
        fi
     fi
  fi;
  printf("OFFER %d epoch=%d age=%d k=%d stops=%d rel=%d took=%d moved=%d\n",
         x, c_epoch, c_age, c_k, c_stops, c_rel, took, took && v_moved);
  look(x)
}

inline learn(x, set_, clr_) {
  g[x].held = g[x].held | (set_ & ~g[x].set & ALL);
#ifndef BREAK_UNION
  g[x].set = g[x].set | set_; g[x].clr = g[x].clr | clr_;
#else
  g[x].set = set_; g[x].clr = clr_;
#endif
  g[x].knew = g[x].knew | set_;
  printf("LEARN %d set=%d clr=%d\n", x, set_, clr_);
  look(x)
}

/* The folder polled: what comes from it is on the disk already. */
inline poll(x) {
  if
  :: f_joined ->
     g[x].whole = 1;
#ifdef BREAK_SEED
     g[x].base = (floor_rel > g[x].base -> floor_rel : g[x].base);
#endif
     printf("WHOLE %d\n", x)
  :: else
  fi;
  learn(x, f_set, f_clr);
  g[x].held = g[x].held & ~f_set & ALL
}

inline forget(x) {
  /* What stays known of this gate, by the proof alone: the epoch it accepted, and the stops that are durable. */
  g[x].up = 0; g[x].whole = 0; g[x].floor = 0; g[x].epoch = 0; g[x].age = OLD; g[x].k = 0; g[x].stops = 0; g[x].crel = 0;
  g[x].newest = OLD; g[x].lapsed = 0; g[x].fresh = 0; g[x].beat = 0; g[x].set = 0; g[x].clr = 0;
  g[x].seen = OLD; g[x].rel = 15; g[x].held = 0; g[x].knew = g[x].knew & acked;
#ifdef BREAK_SEED
  g[x].base = 0;
#endif
#ifdef EPOCH_LOST
  g[x].newest_epoch = 0;
#endif
  printf("DOWN %d\n", x)
}

inline start(x) {
  g[x].up = 1; g[x].beat = 1;   /* it counts from 0 again, which is not what the controller read */
#ifndef BREAK_EPOCH_AT_START
  g[x].floor = issued;
#endif
#ifndef BREAK_LOAD
  g[x].set = f_set; g[x].clr = f_clr;
#endif
#ifdef BREAK_WHOLE
  f_joined = 1;
#endif
  g[x].whole = f_joined;
#ifdef BREAK_SEED
  g[x].base = (f_joined -> floor_rel : 0);
#endif
  printf("START %d floor=%d set=%d clr=%d whole=%d\n", x, g[x].floor, g[x].set, g[x].clr, g[x].whole);
  look(x)
}

/* The disk holds what this gate knows; only then is a stop answered as durable. */
inline store(x) {
#ifndef BREAK_ANSWER_BEFORE_DISK
  f_set = f_set | g[x].set; f_clr = f_clr | g[x].clr;
#endif
  acked = acked | g[x].set; g[x].held = 0
}

inline join() {
  f_set = f_set | d_set; f_clr = f_clr | d_clr; d_set = f_set; d_clr = f_clr;
  if
#ifndef BREAK_SEED
  :: !f_joined -> f_joined = 1                                 /* only a person's clear has a number */
#else
  :: !f_joined -> f_joined = 1; stamp++; floor_rel = stamp     /* the second of a new folder's first use */
#endif
  :: else
  fi
}

inline lose_folder() {
  f_set = 0; f_clr = 0; f_joined = 0; acked = acked & d_set; lost = 1;
  for (j : 0 .. NG - 1) {
    if :: !g[j].up -> g[j].knew = g[j].knew & acked :: else fi
  };
  j = 0
}

inline set_stop(x, s) {
  stamp++; set_at[s] = stamp; stopped = stopped | (1 << s);
  printf("STAMP %d set=%d\n", s, stamp);
  learn(x, (1 << s), 0)
}

inline clear(s) {
  stamp++; rel_at[s] = stamp; cleared = cleared | (1 << s); f_clr = f_clr | (1 << s);
  printf("STAMP %d rel=%d\n", s, stamp);
  quiet = 0
}

/* Whether the release number shown is that of a person's clear. */
inline person() {
  v_own = 0;
  for (i : 0 .. NS - 1) {
    if :: (cleared >> i & 1) && rel_at[i] == v_rel -> v_own = 1 :: else fi
  }
}

inline read() {
  display(0);
#ifndef BREAK_EPOCH_AT_PLC
  if
#ifndef BREAK_OLD_STOP
  :: v_inh -> p_inh = 1; p_saw = p_saw | v_stops; p_rel = (v_rel > p_rel -> v_rel : p_rel)
#else
  :: v_inh -> p_inh = 1; p_saw = p_saw | v_stops; p_rel = (v_epoch >= p_epoch && v_rel > p_rel -> v_rel : p_rel)
#endif
  :: else
  fi;
  if
  :: v_epoch >= p_epoch ->
#else
  if
  :: v_inh -> p_inh = 1; p_saw = p_saw | v_stops; p_rel = (v_rel > p_rel -> v_rel : p_rel)
  :: else
  fi;
  if
  :: true ->
     assert(v_epoch >= p_epoch);
#endif
     if
#ifndef BREAK_RELEASE_ID
     :: p_inh && !v_inh && v_rel > p_rel ->
#else
     :: p_inh && !v_inh ->
#endif
        p_inh = 0; p_rel = v_rel;
        /* A controller lets go only what people cleared (EST-6). A stop that no disk took and whose every copy died
           is nobody's knowledge but the controller's: the clear of another one lets it go too. */
        person();
        assert((p_saw & ~cleared & (v_own -> acked : ALL)) == 0);
        p_saw = 0
     :: else
     fi;
     p_epoch = v_epoch;
     if :: p_heard && g[0].beat -> p_moved = 0 :: else fi;
     p_heard = 1; g[0].beat = 0; p_en = v_en; p_value = v_value;
     p_age = (v_en -> g[0].age : LONG)
#ifndef BREAK_EPOCH_AT_PLC
  :: else
#endif
  fi;
  printf("READ inh=%d rel=%d epoch=%d obeys=%d\n", p_inh, p_rel, p_epoch, p_heard && p_moved <= HEARTBEAT && p_en);
}

#ifdef BREAK_HEARTBEAT
#define OBEYS (p_heard && p_en)
#else
#define OBEYS (p_heard && p_moved <= HEARTBEAT && p_en)
#endif

/* The controller commands its pump; on its own levels it may start it or not. */
inline scan(wants) {
  /* What it obeys is younger than the lease and its own patience together (SAF-9, WDG-4). */
  assert(!OBEYS || p_age < LONG - 1);
  if
  :: OBEYS && p_value && (!p_inh || p_runs) -> v_value = 1
  :: !(OBEYS) && !p_inh -> v_value = wants
  :: else -> v_value = 0
  fi;
  /* Losing everything never turns a stop into a start (EST-6). */
  assert(!(v_value && !p_runs) || (p_saw & ~cleared & ALL) == 0);
  p_runs = v_value
}

inline reboot() {
  p_heard = 0; p_moved = OLD; p_en = 0; p_value = 0; p_age = LONG; p_runs = 0;
#ifdef BREAK_RETAIN
  p_inh = 0;
#endif
  printf("REBOOT\n")
}

inline tick() {
  for (i : 0 .. NG - 1) {
    older(g[i].age); older(g[i].newest); older(g[i].seen);
#if !defined(BREAK_LEASE) && !defined(BREAK_LEASE_FROM_ARRIVAL)
    if :: g[i].age == OLD -> g[i].k = 0; g[i].stops = 0; g[i].crel = 0 :: else fi;
#endif
#ifdef BREAK_LEASE_FROM_ARRIVAL
    older(g[i].arrived);
#endif
  }
  older(p_moved);
  p_age = (p_age < LONG -> p_age + 1 : p_age);
#ifndef BREAK_HEARTBEAT
  if :: p_moved == OLD -> p_en = 0; p_value = 0; p_age = LONG :: else fi;
#endif
  mischief = 0;
#ifdef WALK
  turn = (turn + 1) & 15;
#endif
  printf("TICK\n");
  for (j : 0 .. NG - 1) { look(j) };
  j = 0
}

/* Nothing fails any more: one tick of a healthy system, with what was under way before still arriving. */
inline healthy_tick() {
  tick();
  disk = 1;
  for (j : 0 .. NG - 1) {
    if :: g[j].up -> store(j) :: else fi
  }
  join();
  if
  :: !successor -> issued = 2; successor = 1
  :: else
  fi;
  for (j : 0 .. NG - 1) {
    if :: !g[j].up -> start(j) :: else fi;
    poll(j)
  }
  c_epoch = 2; c_stops = f_set & ~f_clr & ALL;
  release(f_set, f_clr); c_rel = (c_stops -> v_rel : 0);
  for (j : 0 .. NG - 1) { offer(j) }
  c_epoch = 0; c_stops = 0; c_rel = 0;
  read(); scan(0);
  quiet = (quiet < BACK -> quiet + 1 : quiet);
  /* Service is back, unless a stop stands; or one is retained that nobody knows any more: that takes a person there. */
  assert(quiet < BACK || (f_set & ~f_clr & ALL) || (p_inh && (p_saw & ~f_set & ALL)) || (OBEYS && p_value && p_runs))
}

#define GATE(x) \
  :: !over && g[x].up && disk -> d_step { poll(x) } \
  :: !over && g[x].up && disk && g[x].held -> d_step { store(x) } \
  :: !over && RARE && g[x].up -> d_step { forget(x) } \
  :: !over && !g[x].up && disk -> d_step { start(x) } \
  :: g[x].up && !(over && mischief) -> atomic { any_message(); d_step { mischief = over; offer(x); no_message() } } \
  :: g[x].up && stopped && !(over && mischief) -> \
     atomic { any_news(); d_step { mischief = over; learn(x, c_stops, c_clr); no_message() } }

/* What either writer may have sent: the old one never learns that it was replaced. */
inline any_message() {
  if :: c_epoch = 1 :: successor -> c_epoch = 2 fi;
  if
  :: c_age = 0 :: c_age = 1 :: c_age = 2
#ifdef BREAK_STALE
  :: c_age = 3
#endif
  fi;
  if :: c_k = 0 :: c_k = 1 fi;
  any_stops();
  /* It may know clears too; without a stop beside them nobody asks for their number. */
  c_rel = 0;
#if NS > 1
  if
  :: c_stops == 1 && (cleared & 2) -> c_clr = 2
  :: c_stops == 2 && (cleared & 1) -> c_clr = 1
  :: c_clr = 0
  fi;
  release(c_stops, c_clr); c_rel = (c_stops -> v_rel : 0); c_clr = 0
#endif
}

inline any_stops() {
  c_stops = 0;
  if :: c_stops = 0 :: stopped & 1 -> c_stops = 1 fi;
#if NS > 1
  if :: skip :: stopped & 2 -> c_stops = c_stops | 2 fi
#endif
}

/* What any copy of the latch may have held once. */
inline any_news() {
  any_stops();
  if :: c_clr = 0 :: cleared & 1 -> c_clr = 1; c_stops = c_stops | 1 fi;
#if NS > 1
  if :: skip :: cleared & 2 -> c_clr = c_clr | 2; c_stops = c_stops | 2 fi
#endif
}

inline no_message() { c_epoch = 0; c_age = 0; c_k = 0; c_stops = 0; c_clr = 0; c_rel = 0 }

#define STOP(x, s) \
  :: !over && g[x].up && !(stopped >> s & 1) -> d_step { set_stop(x, s) }

#define CLEAR(s) \
  :: disk && (f_set >> s & 1) && !(cleared >> s & 1) -> d_step { clear(s) }

active proctype everything() {
  d_step {
    for (i : 0 .. NG - 1) { g[i].age = OLD; g[i].newest = OLD; g[i].seen = OLD; g[i].rel = 15 };
    i = 0
  }
  do
  :: !over -> d_step { tick() }
  GATE(0)
  STOP(0, 0)
  CLEAR(0)
#if NG > 1
  GATE(1)
  STOP(1, 0)
#endif
#if NS > 1
  STOP(0, 1)
  CLEAR(1)
#if NG > 1
  STOP(1, 1)
#endif
#endif
  :: !over && !successor && disk -> d_step { issued = 2; successor = 1 }
  :: !over && (RARE || !disk) -> disk = !disk
#if defined(WIPE) || defined(REINSTALL)
  :: !over && disk -> d_step { join() }           /* the database answers now and then */
#endif
#ifdef WIPE
  /* The folder may be lost once, while the database holds all of it. */
  :: !over && disk && !lost && f_set == d_set && f_clr == d_clr -> d_step { lose_folder() }
#endif
#ifdef REINSTALL
  /* The folder may be lost once, whatever the database holds. */
  :: !over && disk && !lost -> d_step { lose_folder() }
#endif
#ifdef EPOCH_LOST
  :: !over && disk && issued -> issued = 0
#endif
  :: !over && g[0].up -> d_step { read() }
  :: !over -> d_step { scan(0) }
  :: !over -> d_step { scan(1) }
  :: !over && RARE -> d_step { reboot() }
#ifdef LIVE
  :: !over -> over = 1
  :: over -> d_step { healthy_tick() }
#endif
  od
}
