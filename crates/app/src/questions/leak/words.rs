//! Words that weigh nothing, that turn a question round, or that are written in several ways.

use std::collections::HashMap;
use std::sync::LazyLock;

/// What a word does to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It says what the question is about.
    Content,
    /// Without it the question is the same.
    Function,
    /// As [`Role::Function`], and it may lead a phrase that stands here or there.
    Leading,
    /// It joins two of a kind, whose order says nothing.
    Joining,
    /// It turns the answer round.
    Negation,
}

/// English, German, French and Spanish words by what they do.
const FUNCTION: &str = "the an am is are was were be been being do does did done has have had will would shall should \
    can could may might must please kindly just also exactly currently actually really tell me know let us i \
    you we my your our it its this that these those there so then than s m re ve ll d hi hello hey thanks thank \
    der die das den dem des ein eine einen einem einer eines ist sind war waren wird werden wurde hat haben hatte kann \
    kannst können könnte soll sollte muss ich du wir mein meine meinen meinem meiner dein deine ihr ihre unser es \
    bitte mal denn eigentlich man sich dass so auch \
    le la les un une des du de est sont était je tu nous vous mon ma mes votre ce cette s'il plaît \
    el los las una uno es son era mi su por favor";
const LEADING: &str = "in at on of for by to from with into about during after before since until near under over \
    between through within if when im am an auf von vom zu zum zur für mit bei nach aus vor seit über unter durch \
    während wenn à au aux en dans pour par sur avec depuis desde para con hasta sobre";
/// Those of them that have an opposite: they agree or the questions differ.
const POINTED: &str = "before after since until over under vor nach seit über unter desde hasta";
const JOINING: &str = "or and oder und ou et o y";
const NEGATION: &str = "not no never none nobody nothing neither nor without cannot cant dont doesnt didnt isnt arent \
    wasnt werent wont wouldnt shouldnt couldnt hasnt havent hadnt nicht kein keine keinen keinem keiner keines nie \
    niemals nichts niemand ohne weder ne pas jamais sans aucun aucune nunca sin ningún ninguna";
/// Figures that are written as words: one row for each figure.
const FIGURES: [(&str, &str); 25] = [
    ("0", "zero null"),
    ("1", "one eins"),
    ("2", "two zwei"),
    ("3", "three drei"),
    ("4", "four vier"),
    ("5", "five fünf"),
    ("6", "six sechs"),
    ("7", "seven sieben"),
    ("8", "eight acht"),
    ("9", "nine neun"),
    ("10", "ten zehn"),
    ("11", "eleven elf"),
    ("12", "twelve zwölf"),
    ("13", "thirteen"),
    ("14", "fourteen"),
    ("15", "fifteen"),
    ("20", "twenty zwanzig"),
    ("30", "thirty dreißig"),
    ("40", "forty vierzig"),
    ("50", "fifty fünfzig"),
    ("60", "sixty sechzig"),
    ("70", "seventy siebzig"),
    ("80", "eighty achtzig"),
    ("90", "ninety neunzig"),
    ("100", "hundred hundert"),
];
/// Other ways of writing the same: the second stands for the first.
const SAME: [(&str, &str); 9] = [
    ("which", "what"),
    ("whats", "what"),
    ("hows", "how"),
    ("wheres", "where"),
    ("whos", "who"),
    ("welche", "welcher"),
    ("welches", "welcher"),
    ("welchen", "welcher"),
    ("u", "you"),
];

/// Of scripts without spaces, letter by letter: what says nothing, what leads a phrase, what turns
/// a question round.
const FUNCTION_LETTERS: &str = "的了吗嗎呢么啊吧请請得地の は が を か ですます";
const LEADING_LETTERS: &str = "在从從于於对對";
const NEGATION_LETTERS: &str = "不没沒无無未非别勿";
/// Chinese ways of asking the same.
pub(super) const SAME_LETTERS: [(&str, &str); 9] = [
    ("请问", ""),
    ("怎么样", "何样"),
    ("怎样", "如何"),
    ("怎么", "如何"),
    ("什么时候", "何时"),
    ("几时", "何时"),
    ("哪里", "何处"),
    ("哪儿", "何处"),
    ("什么地方", "何处"),
];

/// Every word with what it does and the word that stands for it.
static WORDS: LazyLock<HashMap<&str, Role>> = LazyLock::new(|| {
    let mut words = HashMap::new();
    let kinds = [
        (FUNCTION, Role::Function),
        (LEADING, Role::Leading),
        (JOINING, Role::Joining),
        (NEGATION, Role::Negation),
    ];
    for (list, role) in kinds {
        words.extend(list.split_whitespace().map(|word| (word, role)));
    }
    words
});

static FIGURE_OF: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| {
    let figures = FIGURES.iter();
    figures.flat_map(|(figure, words)| words.split(' ').map(|word| (word, *figure))).collect()
});

/// What a word in lower case does.
pub(super) fn role(word: &str) -> Role {
    WORDS.get(word).copied().unwrap_or(Role::Content)
}

/// The figure that a word in lower case stands for.
pub(super) fn figure(word: &str) -> Option<&'static str> {
    FIGURE_OF.get(word).copied()
}

/// Whether a word in lower case has an opposite that would stand in the same place.
pub(super) fn is_pointed(word: &str) -> bool {
    POINTED.split(' ').any(|pointed| pointed == word)
}

/// The word that stands for this one.
pub(super) fn canonical(word: &str) -> &str {
    SAME.iter().find(|(written, _)| *written == word).map_or(word, |(_, same)| same)
}

/// What a letter of a script without spaces does.
pub(super) fn letter_role(letter: char) -> Role {
    if FUNCTION_LETTERS.contains(letter) {
        Role::Function
    } else if LEADING_LETTERS.contains(letter) {
        Role::Leading
    } else if NEGATION_LETTERS.contains(letter) {
        Role::Negation
    } else {
        Role::Content
    }
}

/// Whether a letter belongs to a script that is written without spaces.
pub(super) fn is_unspaced(letter: char) -> bool {
    matches!(u32::from(letter),
        0x0E00..=0x0EFF | 0x1780..=0x17FF | 0x3040..=0x30FF | 0x3400..=0x9FFF | 0xF900..=0xFAFF
        | 0x20000..=0x3FFFF)
}

/// Whether two words in lower case are one: inflected otherwise, or mistyped.
pub(super) fn is_variant(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let shorter = a.len().min(b.len());
    let shared = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let rest = |word: &[char]| word[shared..].iter().collect::<String>();
    let endings = (rest(&a), rest(&b));
    let ending = |text: &str| {
        ["", "s", "es", "ed", "d", "ing", "en", "e", "n", "er", "em", "t", "te", "ly"]
            .contains(&text)
    };
    if shared >= 3 && shared + 3 >= shorter && ending(&endings.0) && ending(&endings.1) {
        return true;
    }
    // A mistake in the first letter is rare, and `increase` and `decrease` differ in it.
    let allowed = match shorter {
        0..5 => 0,
        5..10 => 1,
        _ => 2,
    };
    shared > 0 && allowed > 0 && edits(&a, &b, allowed) <= allowed
}

/// The number of letters to insert, drop, change or swap with the next one; above `most` any number
/// above it.
fn edits(a: &[char], b: &[char], most: usize) -> usize {
    if a.len().abs_diff(b.len()) > most {
        return most + 1;
    }
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}
