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
// For example, a burst of 5, filled by a token per second:
//
//	time  done                missing before  See keeps             missing after
//	0 s   take 1, 2 tokens    0               nothing               2
//	1 s   take 2, 3 tokens    1               1 after take 1        4
//	2 s   take 3, 1 token     3               and 3 after take 2    4
//	3 s                       3
//
// Takes 1 and 2 go back at 3 s. Had they never been, nothing would be missing by then. So they are worth 3 together, in either order:
//
//	take 1 first: the least missing since is 1; it returns 1 of 2. Kept are 0 after take 1 and 2 after take 2.
//	then take 2:  the least missing since is 2; it returns 2 of 3. Kept is 0 after take 2, which makes the other one of no use.
//
//	take 2 first: the least missing since is 3; it returns 3 of 3. Kept is 0 after take 2.
//	then take 1:  the least missing since is 0; it returns 0 of 2.
//
// TestPeaksByExample shows these numbers.
//
// # Which moments count
//
// Less and less is missing as time passes, until a take or a change of the burst. So only the moments just before those count: the
// peaks, when the bucket was fullest. (What is missing now is not one of them: the bucket overflows by itself.) A peak is of no use
// when as little, or less, was missing at a later one. And a peak at which all that had been taken was missing takes nothing
// away.
//
// # Room
//
// There is room for four peaks. When there is one more, there are two ways. A peak that would cost less than 0.01 token in all is not
// kept; that much is a debt, which the next returns repay. (Attempts that come at the same time are such a case.) Otherwise two
// neighbours become one, which stands for both: it has the time of the later one, and the least missing of the two. So no tokens are
// ever worth more than they should be, and when many go back, some are worth less.
//
// Invariant: for any set of takes, what GiveBack returns for all of them is at most by how much the bucket would be fuller
// without them.
//
// By the peaks that are kept, all takes together are worth no more than returnable and debt: a peak lowers returnable to what is
// missing at it, and if it is not kept, the debt rises by as much. What goes back lowers both alike. So the debt can be forgotten
// when all that is kept is one peak, at which returnable is missing.
type Peaks struct {
	takes      uint64  // so far; the number of the last one
	returnable float64 // what can go back, for all takes together
	debt       float64 // what the next returns repay, for peaks that were not kept; less than mostDebt

	peaks [4]peak // the first kept of them: in the order of time; from one to the next, more is missing
	kept  int
}

// mostDebt is how much of a token the peaks that were not kept may cost together.
const mostDebt = 0.01

// peak is a moment: after how many takes it was, and how many tokens were missing.
type peak struct {
	takes   uint64
	missing float64
}

// since reports whether the peak was after the take with that number, and so bounds what the take is worth.
func (k peak) since(take uint64) bool { return k.takes >= take }

// See notes how many tokens are missing, just before a take or a change of the burst. The order of the cases matters: a full bucket
// counts even if nothing is worth anything.
func (p *Peaks) See(missing float64) {
	lost := p.returnable - missing // what this peak takes away from all takes together
	switch {
	case p.returnable == 0 && p.kept == 0: // nothing was taken, or all of it went back
		return
	case missing == 0: // full: nothing is worth anything, and no other peak says more than this one
		p.returnable, p.debt = 0, 0
		p.kept = 0
		p.keep(peak{p.takes, 0})
		return
	case lost <= 0: // at least as much is missing as can go back: none of it is affected
		return
	}
	p.returnable = missing
	p.dropFrom(missing)
	switch {
	case p.kept == 0:
		p.debt = 0 // the peak to come says all that the debt stood for
	case p.kept == len(p.peaks) && p.debt+lost < mostDebt:
		p.debt += lost // in place of the peak
		return
	case p.kept == len(p.peaks):
		p.join()
	}
	p.keep(peak{p.takes, missing})
}

// dropFrom drops the peaks, all earlier, at which so many tokens were missing, or more.
func (p *Peaks) dropFrom(missing float64) {
	for p.kept > 0 && p.peaks[p.kept-1].missing >= missing {
		p.kept--
	}
}

func (p *Peaks) keep(latest peak) {
	p.peaks[p.kept] = latest
	p.kept++
}

// join makes one of the two neighbours that differ least, in proportion to what is missing: the peaks with the least
// missing say most about a token.
func (p *Peaks) join() {
	best, least := 0, 2.0
	for i := range p.kept - 1 {
		earlier, later := p.peaks[i].missing, p.peaks[i+1].missing
		if difference := (later - earlier) / later; difference < least {
			best, least = i, difference
		}
	}
	p.peaks[best+1].missing = p.peaks[best].missing
	copy(p.peaks[best:], p.peaks[best+1:])
	p.kept--
}

// Take notes that n tokens are taken, and returns the number of this take: 1 for the first.
func (p *Peaks) Take(n float64) (number uint64) {
	p.takes++
	p.returnable += n
	return p.takes
}

// GiveBack returns what the n tokens of a take are worth, less the debt that they repay, and notes that they were never taken.
func (p *Peaks) GiveBack(number uint64, n float64) float64 {
	worth := n
	for _, k := range p.peaks[:p.kept] {
		if k.since(number) {
			worth = min(worth, k.missing)
		}
	}
	before, kept := p.peaks, p.kept
	p.kept = 0
	for _, k := range before[:kept] { // those that this makes of no use are not kept
		if k.since(number) {
			k.missing -= worth
		}
		p.dropFrom(k.missing)
		p.keep(k)
	}
	repaid := min(worth, p.debt)
	p.debt -= repaid
	p.returnable = max(0, p.returnable-(worth-repaid))
	return worth - repaid
}
