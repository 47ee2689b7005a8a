package main

import (
	"errors"
	"math"
	"time"

	"github.com/alpacahq/alpaca-trade-api-go/v3/alpaca"
	"github.com/alpacahq/alpaca-trade-api-go/v3/marketdata"
)

const pastCall = "AAPL241220C00230000"

var (
	past   = marketdata.NewClient(marketdata.ClientOpts{APIKey: key, APISecret: secret, BaseURL: pastURL, RetryLimit: 1})
	monday = time.Date(2024, 11, 25, 0, 0, 0, 0, time.UTC)
	opened = time.Date(2024, 11, 25, 14, 30, 0, 0, time.UTC)
)

func saneBar(open, high, low, end, vwap float64) {
	holds(low <= min(open, end) && max(open, end) <= high && low <= vwap && vwap <= high, "a low below a high",
		[]float64{open, high, low, end, vwap})
}

func saneBars(bars []marketdata.Bar) {
	for _, bar := range bars {
		saneBar(bar.Open, bar.High, bar.Low, bar.Close, bar.VWAP)
		holds(bar.Volume > 0 && bar.TradeCount > 0, "volume and trades", bar)
	}
}

var historyChecks = []check{
	{"minute bars of stocks", func() {
		bars := must(past.GetMultiBars([]string{"AAPL", "SPY"}, marketdata.GetBarsRequest{
			TimeFrame: marketdata.OneMin, Start: opened, End: opened.Add(9 * time.Minute),
		}))
		for _, symbol := range []string{"AAPL", "SPY"} {
			equal(len(bars[symbol]), 10, "bars of "+symbol)
			equal(bars[symbol][9].Timestamp, opened.Add(9*time.Minute), "the last minute")
			saneBars(bars[symbol])
		}
	}},
	{"bars are paged", func() {
		request := marketdata.GetBarsRequest{TimeFrame: marketdata.OneMin, Start: opened, End: opened.Add(29 * time.Minute)}
		whole := must(past.GetBars("SPY", request))
		request.PageLimit = 7
		paged := must(past.GetBars("SPY", request))
		equal(len(paged), 30, "number of bars")
		for i := range paged {
			equal(paged[i], whole[i], "bar "+text(i))
		}
		request.TotalLimit, request.Sort = 10, marketdata.SortDesc
		newest := must(past.GetBars("SPY", request))
		equal(len(newest), 10, "bars up to a limit")
		equal(newest[0], whole[29], "the newest first")
	}},
	{"bars are adjusted for a split", func() {
		closes := func(adjustment marketdata.Adjustment) []marketdata.Bar {
			return must(past.GetBars("AAPL", marketdata.GetBarsRequest{
				TimeFrame: marketdata.OneDay, Adjustment: adjustment, Start: monday.AddDate(0, 0, -5), End: opened,
			}))
		}
		raw, split := closes(marketdata.Raw), closes(marketdata.Split)
		equal(len(raw), 4, "days")
		for i, ratio := range []float64{4, 4, 1, 1} {
			holds(math.Abs(raw[i].Close/split[i].Close-ratio) < 0.01, "a price divided by "+text(int(ratio)), raw[i])
		}
	}},
	{"trades and quotes of stocks", func() {
		end := opened.Add(30 * time.Second)
		trades := must(past.GetTrades("SPY", marketdata.GetTradesRequest{Start: opened, End: end}))
		holds(len(trades) > 5, "some trades", len(trades))
		for _, trade := range trades {
			holds(trade.Price > 0 && trade.Size > 0 && trade.ID > 0 && trade.Exchange != "" && trade.Tape != "", "a trade", trade)
			holds(!trade.Timestamp.Before(opened) && !trade.Timestamp.After(end), "within the window", trade)
		}
		quotes := must(past.GetQuotes("SPY", marketdata.GetQuotesRequest{Start: opened, End: end, TotalLimit: 7}))
		equal(len(quotes), 7, "quotes up to a limit")
		for _, quote := range quotes {
			holds(0 < quote.BidPrice && quote.BidPrice < quote.AskPrice && quote.BidSize > 0, "a quote", quote)
		}
	}},
	{"latest and snapshots of stocks", func() {
		holds(must(past.GetLatestTrade("SPY", marketdata.GetLatestTradeRequest{})).Price > 0, "a trade", nil)
		quote := must(past.GetLatestQuote("SPY", marketdata.GetLatestQuoteRequest{}))
		holds(quote.AskPrice > quote.BidPrice, "a quote", quote)
		saneBars([]marketdata.Bar{*must(past.GetLatestBar("SPY", marketdata.GetLatestBarRequest{}))})
		for symbol, snapshot := range must(past.GetSnapshots([]string{"AAPL", "SPY"}, marketdata.GetSnapshotRequest{})) {
			holds(snapshot.LatestTrade != nil && snapshot.LatestQuote != nil, "a snapshot of "+symbol, snapshot)
			saneBars([]marketdata.Bar{*snapshot.MinuteBar, *snapshot.DailyBar, *snapshot.PrevDailyBar})
			equal(snapshot.PrevDailyBar.Timestamp, monday.Add(5*time.Hour), "yesterday")
		}
	}},
	{"auctions", func() {
		days := must(past.GetAuctions("SPY", marketdata.GetAuctionsRequest{Start: monday, End: monday.AddDate(0, 0, 1)}))
		holds(len(days) > 0 && len(days[0].Opening) > 0 && days[0].Opening[0].Price > 0, "an opening auction", days)
	}},
	{"crypto data", func() {
		window := marketdata.GetCryptoTradesRequest{Start: monday, End: monday.Add(30 * time.Second)}
		trades := must(past.GetCryptoTrades("BTC/USD", window))
		holds(len(trades) > 3 && trades[0].Price > 0 && trades[0].Size > 0, "trades", len(trades))
		holds(trades[0].TakerSide == marketdata.TakerSideBuy || trades[0].TakerSide == marketdata.TakerSideSell, "a taker", trades[0])
		quotes := must(past.GetCryptoQuotes("BTC/USD", marketdata.GetCryptoQuotesRequest{Start: window.Start, End: window.End}))
		holds(len(quotes) > 3 && quotes[0].BidPrice < quotes[0].AskPrice, "quotes", len(quotes))
		bars := must(past.GetCryptoBars("BTC/USD", marketdata.GetCryptoBarsRequest{
			TimeFrame: marketdata.OneMin, Start: monday, End: monday.Add(9 * time.Minute), PageLimit: 4,
		}))
		equal(len(bars), 10, "bars over pages")
		for _, bar := range bars {
			saneBar(bar.Open, bar.High, bar.Low, bar.Close, bar.VWAP)
		}
		holds(must(past.GetLatestCryptoTrade("ETH/USD", marketdata.GetLatestCryptoTradeRequest{})).Price > 0, "a latest trade", nil)
		holds(must(past.GetLatestCryptoQuote("ETH/USD", marketdata.GetLatestCryptoQuoteRequest{})).AskPrice > 0, "a quote", nil)
		holds(must(past.GetLatestCryptoBar("ETH/USD", marketdata.GetLatestCryptoBarRequest{})).Close > 0, "a bar", nil)
		snapshot := must(past.GetCryptoSnapshot("BTC/USD", marketdata.GetCryptoSnapshotRequest{}))
		holds(snapshot.LatestTrade != nil && snapshot.DailyBar != nil && snapshot.PrevDailyBar != nil, "a snapshot", snapshot)
	}},
	{"option data", func() {
		window := marketdata.GetOptionTradesRequest{Start: opened, End: opened.Add(5 * time.Minute)}
		trades := must(past.GetOptionTrades(pastCall, window))
		holds(len(trades) > 0 && trades[0].Price > 0 && trades[0].Condition != "", "trades", trades)
		bars := must(past.GetOptionBars(pastCall, marketdata.GetOptionBarsRequest{
			TimeFrame: marketdata.OneDay, Start: monday.AddDate(0, 0, -5), End: opened,
		}))
		holds(len(bars) > 0 && bars[0].Close > 0, "bars", bars)
		quote := must(past.GetLatestOptionQuote(pastCall, marketdata.GetLatestOptionQuoteRequest{}))
		holds(quote.BidPrice < quote.AskPrice, "a quote", quote)
		snapshot := must(past.GetOptionSnapshot(pastCall, marketdata.GetOptionSnapshotRequest{}))
		holds(snapshot.LatestQuote != nil && snapshot.Greeks != nil && snapshot.ImpliedVolatility > 0, "a snapshot", snapshot)
		chain := must(past.GetOptionChain("AAPL", marketdata.GetOptionChainRequest{TotalLimit: 10, PageLimit: 4}))
		equal(len(chain), 10, "contracts of the chain")
	}},
	{"news is paged", func() {
		items := must(past.GetNews(marketdata.GetNewsRequest{Start: monday, End: opened, TotalLimit: 25, PageLimit: 10}))
		equal(len(items), 25, "number of items")
		for i := range items[1:] {
			holds(!items[i].UpdatedAt.Before(items[i+1].UpdatedAt), "the newest first", items[i])
		}
		holds(items[0].Headline != "" && items[0].Author != "" && len(items[0].Symbols) > 0, "an item", items[0])
	}},
	{"what the data side refuses", func() {
		refusedData := func(err error, status int) {
			var refusal *alpaca.APIError
			if !errors.As(err, &refusal) {
				fail("an *alpaca.APIError", err)
			}
			equal(refusal.StatusCode, status, "status")
		}
		stranger := marketdata.NewClient(marketdata.ClientOpts{APIKey: "nobody", APISecret: "nothing", BaseURL: pastURL})
		_, err := stranger.GetLatestTrade("SPY", marketdata.GetLatestTradeRequest{Feed: marketdata.IEX})
		refusedData(err, 401)
		_, err = past.GetLatestTrade("SPY", marketdata.GetLatestTradeRequest{Feed: marketdata.SIP})
		refusedData(err, 403)
	}},
}
