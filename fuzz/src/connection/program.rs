//! What a fuzzer's bytes say: how the gateway is set up, and what its clients do, step by step.
//!
//! Any bytes are a program, and close bytes are close programs.

use super::requests::is_burst;

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) settings: Settings,
    pub(crate) steps: Vec<Step>,
}

/// How the gateway is set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings(u8);

/// One action, and whether the gateway comes to rest before the next.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) action: Action,
    pub(crate) rests: bool,
}

/// What a client does, or the world. All but `Open`, `Select`, `Wait` and `Drain` are done by the client that was
/// opened or selected last.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// A new client sends a request head.
    Open(u8),
    /// Another client goes on.
    Select(u8),
    /// A whole message.
    Message {
        is_text: bool,
        letter: u8,
        bytes: usize,
    },
    /// A whole compressed message.
    Compressed {
        is_text: bool,
        letter: u8,
        bytes: usize,
    },
    /// A masked frame with any first byte.
    Frame {
        first: u8,
        bytes: usize,
    },
    /// Any bytes.
    Raw(Vec<u8>),
    /// So many pings or pongs.
    Controls {
        opcode: u8,
        bytes: usize,
        count: u8,
    },
    /// A Close, right or wrong.
    Close(u8),
    /// A first message that is or is not a token.
    Token(u8),
    /// Time passes.
    Wait {
        ms: u64,
    },
    /// The client takes only so much more.
    Window {
        bytes: usize,
    },
    /// The client takes all again.
    Unblock,
    Reset,
    Finish,
    Drain,
    /// Reads and writes come in pieces.
    Cut {
        read_bytes_max: usize,
        write_bytes_max: usize,
        hiccup_every: u32,
    },
    /// The end of what is sent next comes later.
    HoldBack {
        bytes: usize,
    },
    /// The client answers a Close, if it has got one.
    AnswerClose,
}

impl Settings {
    pub(crate) const fn bit(self, bit: u8) -> bool {
        self.0 & (1 << bit) != 0
    }

    /// Whether there may be messages of 60 KB, and an application that sends 400 KB at once.
    pub(crate) const fn has_much(self) -> bool {
        self.bit(7)
    }

    /// Two bits from `bit` on.
    pub(crate) const fn two_bits(self, bit: u8) -> u8 {
        self.0 >> bit & 3
    }
}

impl Program {
    pub(crate) fn decode(data: &[u8]) -> Self {
        let mut input = Input { left: data, larges: 0, bursts: 0 };
        let settings = Settings(input.byte());
        if settings.has_much() {
            (input.larges, input.bursts) = (LARGES_MAX, BURSTS_MAX);
        }
        let mut steps = Vec::new();
        while !input.left.is_empty() && steps.len() < STEPS_MAX {
            steps.push(input.step());
        }
        Self { settings, steps }
    }
}

struct Input<'a> {
    left: &'a [u8],
    /// How many more sizes may be large, and how many more messages may ask for a burst: what costs hundreds of times as much as
    /// all else is copied by fuzzers until a program does nothing else. So most programs have none.
    larges: usize,
    bursts: usize,
}

impl Input<'_> {
    /// The next byte; 0 after the end.
    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.left.split_first() else { return 0 };
        self.left = rest;
        *byte
    }

    /// A size that is mostly small: what is large takes hundreds of times as long, so it is no number that fuzzers like to write.
    fn size(&mut self) -> usize {
        match self.byte() {
            small @ 0..=229 => usize::from(small),
            254 if take(&mut self.larges) => 60_035,
            medium => (usize::from(medium) - 229) * 101,
        }
    }

    /// What chooses the letters of a message, and what it asks of the application.
    fn letter(&mut self) -> u8 {
        let letter = self.byte();
        if is_burst(letter) && !take(&mut self.bursts) { letter + 1 } else { letter }
    }

    fn step(&mut self) -> Step {
        let operation = self.byte();
        let action = match operation & 0x1F {
            op::OPEN => Action::Open(self.byte()),
            op::SELECT => Action::Select(self.byte()),
            op::TEXT => Action::Message { is_text: true, letter: self.letter(), bytes: self.size() },
            op::BINARY => Action::Message { is_text: false, letter: self.letter(), bytes: self.size() },
            op::FRAME => Action::Frame { first: self.byte(), bytes: self.size() },
            op::RAW => {
                let (bytes, rest) =
                    self.left.split_at(self.left.len().min(usize::from(operation >> 5 & 3) * 5 + 1));
                self.left = rest;
                Action::Raw(bytes.to_vec())
            }
            op::PING => self.controls(0x9),
            op::PONG => self.controls(0xA),
            op::CLOSE => Action::Close(self.byte()),
            op::TOKEN => Action::Token(self.byte()),
            op::WAIT => Action::Wait { ms: WAITS_MS[usize::from(self.byte()) % WAITS_MS.len()] },
            op::WINDOW => Action::Window { bytes: self.size() },
            op::UNBLOCK => Action::Unblock,
            op::RESET => Action::Reset,
            op::FINISH => Action::Finish,
            op::DRAIN => Action::Drain,
            op::CUT => Action::Cut {
                read_bytes_max: self.piece(),
                write_bytes_max: self.piece(),
                hiccup_every: u32::from(self.byte() % 8),
            },
            op::HOLD_BACK => Action::HoldBack { bytes: self.size() },
            op::ANSWER_CLOSE => Action::AnswerClose,
            op::COMPRESSED => {
                let letter = self.letter();
                Action::Compressed { is_text: letter.is_multiple_of(2), letter, bytes: self.size() }
            }
            // What is left of the numbers goes to what most programs need more of.
            more => Action::Message { is_text: more % 2 == 0, letter: self.letter(), bytes: self.size() },
        };
        Step { action, rests: operation & 0x80 == 0 }
    }

    fn controls(&mut self, opcode: u8) -> Action {
        let (bytes, count) = (self.byte(), self.byte());
        let count = if count < 200 { 1 } else { count - 190 };
        Action::Controls { opcode, bytes: usize::from(bytes) % 126, count }
    }

    fn piece(&mut self) -> usize {
        let size = self.size();
        if size == 0 { usize::MAX } else { size }
    }
}

/// Takes one of what is left, if anything is.
const fn take(left: &mut usize) -> bool {
    let is_left = *left > 0;
    *left = left.saturating_sub(1);
    is_left
}

/// The numbers of the actions in a program's bytes.
pub(crate) mod op {
    pub(crate) const OPEN: u8 = 0;
    pub(crate) const SELECT: u8 = 1;
    pub(crate) const TEXT: u8 = 2;
    pub(crate) const BINARY: u8 = 3;
    pub(crate) const FRAME: u8 = 4;
    pub(crate) const RAW: u8 = 5;
    pub(crate) const PING: u8 = 6;
    pub(crate) const PONG: u8 = 7;
    pub(crate) const CLOSE: u8 = 8;
    pub(crate) const TOKEN: u8 = 9;
    pub(crate) const WAIT: u8 = 10;
    pub(crate) const WINDOW: u8 = 11;
    pub(crate) const UNBLOCK: u8 = 12;
    pub(crate) const RESET: u8 = 13;
    pub(crate) const FINISH: u8 = 14;
    pub(crate) const DRAIN: u8 = 15;
    pub(crate) const CUT: u8 = 16;
    pub(crate) const HOLD_BACK: u8 = 17;
    pub(crate) const ANSWER_CLOSE: u8 = 18;
    pub(crate) const COMPRESSED: u8 = 19;
}

/// Around every deadline that a connection has.
const WAITS_MS: [u64; 12] = [1, 20, 100, 400, 990, 1000, 3000, 4990, 5010, 10_000, 15_010, 20_010];

const STEPS_MAX: usize = 48;
const LARGES_MAX: usize = 8;
const BURSTS_MAX: usize = 1;
