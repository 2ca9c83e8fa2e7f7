"""Sentences that open as a translation does: with "Of", "What" or "That of", or with a bare participle."""

import re

from tests.docs.pages import tokens_of


def _words(text):
    return frozenset(text.split())


# Participles that do not end in -ed, as far as they are not imperatives, too ("Set x", "Run it").
_IRREGULAR = _words("""
    beaten begun bound broken brought built caught chosen done drawn driven fed forgotten found fallen given gone grown
    held hidden kept known laid learnt left lent lost made meant paid proven said seen sent shown sold spent taken
    taught thought thrown told understood unknown untold won worn written
""")
_NO_PARTICIPLES = _words("bed breed embed exceed feed hundred indeed naked need proceed red sacred seed shed speed")
# A participle opens the sentence unless it belongs to a noun that follows at once, as in "Published weights are".
_NO_NOUN_FOLLOWS = _words("""
    a about above across after again against all alike alone along already also always among an and anew are around as
    at away back be because been before behind below beside between both but by can could do does down during each
    either every everywhere except for from had has have he here how if in inside instead into is it its itself just
    like may more most must near neither never no none not nothing now of off on once one only onto or our out outside
    over per rather shall she should since so some still than that the their them then there these they this those
    through throughout till to together too toward towards twice under unless until up upon via was we were what when
    where whether which while who whose will with within without would yet you your
""")
# A gerund may be a subject ("Training takes two minutes"); these never are one.
_NEVER_SUBJECTS = _words("""
    assuming being considering depending following having including judging lacking missing owing regarding remaining
    using
""")
_NO_GERUNDS = _words("anything bring during everything morning nothing ring something spring string thing wing")
# Verbs that end the subject of a sentence: what follows their comma is no main clause.
_FINITE = re.compile(
    r"\b(is|are|was|were|has|have|had|do|does|did|can|cannot|could|may|might|must|shall|should|will|would|stay|stays|"
    r"need|needs|take|takes|took|cost|costs|give|gives|gave|make|makes|made|keep|keeps|kept|come|comes|go|goes|run|runs|"
    r"read|reads|write|writes|work|works|use|uses|[a-z]+(?<![aious])s(?= (a|an|all|any|at|by|each|every|for|from|in|it|"
    r"its|no|nothing|on|one|only|the|their|them|to|up|with)\b))\b"
)
_SUBORDINATE = re.compile(
    r"(although|and|as|because|but|even|for|if|nor|not|or|since|so|that|though|unless|until|when|where|whether|which|"
    r"while|who|whose|with|without)\b"
)
# Participles that are imperatives as well, unless a comma and the subject of the sentence follow.
_AMBIGUOUS = re.compile(r"(?:cut|left|put|read|run|set|split)(?=[ ,])[^.:;]*?, (it|they|we|the)\b", re.IGNORECASE)
# Further signs of a main clause behind a comma: pronouns, and verbs that would be nouns elsewhere.
_MAIN_CLAUSE = re.compile(r"\b(it|they|we|you|differ|part|split)\b")
# The rest of a sentence behind a colon or semicolon reads as another one.
_LATER_CLAUSE = re.compile(r"[:;] (?:of|(?:that|those) of)\b")
_WORD = re.compile(r"[A-Za-z]+(?:['-][A-Za-z]+)*")
_SENTENCE_END = re.compile(r"(?:(?<=[.!?:])|(?<=[.!?:][)\]\"']))\s+(?=[(\[\"']*[A-Z])")


def bad_openings(text):
    """Returns the sentences of a text, in Markdown or plain, that open as none should.

    Code, headings, images and comments are no sentences, nor are the heads of tables and cells of a single word. Colons
    end sentences as full stops do, where a capital letter follows. A clause behind a colon or semicolon may begin with
    a participle, but not with "of" or "that of".
    """
    return [sentence for part in _parts(text) for sentence in part if opens_badly(sentence)]


def opens_badly(sentence):
    """Whether one sentence does."""
    found = _WORD.match(sentence := sentence.lstrip("([\"'"))
    if _LATER_CLAUSE.search(sentence):
        return True
    if not found:
        return False
    word, rest = found[0].lower(), sentence[found.end() :]
    following = _WORD.match(rest.lstrip(" "))
    after = following[0].lower() if following else ""
    if word in ("of", "what", "what's"):
        return True
    if word in ("that", "those"):
        return after == "of"
    if word in ("not", "once") and (after.endswith(("ed", "ing")) or after in _IRREGULAR):
        return opens_badly(rest.lstrip())
    if (ambiguous := _AMBIGUOUS.match(sentence)) and (
        ambiguous[1].lower() != "the" or _FINITE.search(sentence, ambiguous.end())
    ):
        return True
    if word in _IRREGULAR or (word.endswith("ed") and word not in _NO_PARTICIPLES):
        return not after or after in _NO_NOUN_FOLLOWS or after.endswith("ly")
    if word in _NEVER_SUBJECTS:
        return True
    return word.endswith("ing") and word not in _NO_GERUNDS and _is_adverbial(rest)


def _is_adverbial(rest):
    """Whether what follows an -ing word at the beginning of a sentence leads to a comma and the real subject."""
    phrase, comma, clause = rest.partition(", ")
    if not comma or not phrase.strip() or re.search(r"[:;]", phrase) or _FINITE.search(phrase):
        return False
    return not _SUBORDINATE.match(clause) and bool(_FINITE.search(clause) or _MAIN_CLAUSE.search(clause))


def _parts(text):
    """The running texts of a document, each as a list of sentences."""
    tokens = tokens_of(text)
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.type == "inline" and before.type != "heading_open":
            sentences = _SENTENCE_END.split(_plain(token))
            is_label = before.type == "th_open" or (before.type == "td_open" and " " not in sentences[0])
            yield sentences[is_label:]


def _plain(inline):
    """The text of an inline token; code keeps its backticks, so that its first word opens no sentence."""
    words = {"softbreak": " ", "hardbreak": " ", "image": "", "html_inline": ""}
    texts = (f"`{t.content}`" if t.type == "code_inline" else words.get(t.type, t.content) for t in inline.children)
    return " ".join("".join(texts).split())
