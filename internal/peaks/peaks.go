// Package peaks remembers how full a bucket of tokens has been, for the tokens that go back.
package peaks

// Peaks says what tokens are worth that were taken from a bucket and not used. The zero value is ready, for a full bucket.
//
// # What they are worth
//
// Such tokens are worth what would be there now had they never been taken. Without a take of n, the bucket would have been
// fuller by n ever since, except that it overflows: at no time can it be fuller by more than was missing then. So they are worth
// n, or the least that was missing at any time since the take, if that is less. If the bucket was full in between, they are worth
// nothing. And once they have gone back, less by their worth was missing at those times, since that is how it would have been.
//
// # Which moments count
//
// Less and less is missing as time passes, until a take or a change of the burst. So only the moments just before those count: the
// peaks. (What is missing now is not one of them: the bucket overflows by itself.) Of two peaks the later one makes the earlier one
// of no use if it is as high. And a peak at which all that had been taken was missing has cost nothing its worth.
//
// # Room
//
// There is room for four peaks. When there is one more, and next to nothing has lost its worth by it, it is not kept: the tokens
// that go back next owe that. (Attempts that come at the same time are such a case.) Otherwise two neighbours become one, which
// stands for both, with the time of the later and the height of the higher one. So no tokens are ever worth more than they should
// be, and when many go back, some are worth less.
//
// Invariant: for any set of takes, what GiveBack returns for all of them is at most by how much the bucket would be fuller
// without them.
type Peaks struct {
	Takes uint64 // the number of the last take

	worth float64 // of all takes together, at most
	owed  float64 // of that, for peaks that were not kept; less than little
	kept  int
	at    [4]peak // in the order of time
}

// little is how much of a token may be owed.
const little = 0.01

// peak is a moment: after how many takes it was, and how many tokens were missing.
type peak struct {
	takes   uint64
	missing float64
}

// See notes how many tokens are missing, just before a take or a change of the burst.
func (p *Peaks) See(missing float64) {
	lost := p.worth - missing
	switch {
	case p.worth == 0 && p.kept == 0: // nothing was taken, or all of it went back
		return
	case missing == 0: // full: nothing is worth anything, and no other peak says more than this one
		p.worth, p.owed = 0, 0
		p.kept, p.at[0] = 1, peak{p.Takes, 0}
		return
	case lost <= 0:
		return
	}
	p.worth = missing
	for p.kept > 0 && p.at[p.kept-1].missing >= missing {
		p.kept--
	}
	switch {
	case p.kept == 0:
		p.owed = 0 // it was for a peak that is not as high as this one
	case p.kept == len(p.at) && p.owed+lost < little:
		p.owed += lost
		return
	case p.kept == len(p.at):
		p.join()
	}
	p.at[p.kept] = peak{p.Takes, missing}
	p.kept++
}

// join makes one of the two neighbours that differ least, in proportion to what is missing: the highest peaks, with
// which little was missing, say most about a token.
func (p *Peaks) join() {
	best, least := 0, 2.0
	for i := range p.kept - 1 {
		lower, higher := p.at[i+1].missing, p.at[i].missing
		if difference := (lower - higher) / lower; difference < least {
			best, least = i, difference
		}
	}
	p.at[best+1].missing = min(p.at[best].missing, p.at[best+1].missing)
	copy(p.at[best:], p.at[best+1:])
	p.kept--
}

// Take notes that n tokens are taken. The number of this take is Takes from then on.
func (p *Peaks) Take(n float64) {
	p.Takes++
	p.worth += n
}

// GiveBack returns what the n tokens of a take are worth, and notes that they were never taken.
func (p *Peaks) GiveBack(number uint64, n float64) float64 {
	worth := n
	for _, peak := range p.at[:p.kept] {
		if peak.takes >= number {
			worth = min(worth, peak.missing)
		}
	}
	for i := range p.at[:p.kept] {
		if p.at[i].takes >= number {
			p.at[i].missing -= worth
		}
	}
	pay := min(worth, p.owed)
	p.owed -= pay
	p.worth = max(0, p.worth-(worth-pay))
	return worth - pay
}
