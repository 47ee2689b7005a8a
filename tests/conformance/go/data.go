package main

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"time"

	"github.com/alpacahq/alpaca-trade-api-go/v3/marketdata"
	"github.com/alpacahq/alpaca-trade-api-go/v3/marketdata/stream"
)

// rows keeps what a handler is given.
type rows[T any] struct {
	mutex sync.Mutex
	all   []T
}

func (r *rows[T]) keep(row T) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.all = append(r.all, row)
}

func (r *rows[T]) count() int {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return len(r.all)
}

func (r *rows[T]) wait(count int) []T {
	what := text(count) + " of " + reflect.TypeFor[T]().Name()
	eventually(what, func() (int, bool) { return r.count(), r.count() >= count })
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return append([]T(nil), r.all...)
}

var (
	stockTrades, nowTrades, testTrades rows[stream.Trade]
	stockQuotes, testQuotes            rows[stream.Quote]
	stockBars, updatedBars, dailyBars  rows[stream.Bar]
	testBars                           rows[stream.Bar]
	coinTrades                         rows[stream.CryptoTrade]
	coinQuotes                         rows[stream.CryptoQuote]
	coinBars                           rows[stream.CryptoBar]
	coinBooks                          rows[stream.CryptoOrderbook]
	optionTrades                       rows[stream.OptionTrade]
	optionQuotes                       rows[stream.OptionQuote]
	newsItems                          rows[stream.News]

	now         *stream.StocksClient
	connections = make(chan struct{}, 100)
	connecting  = map[string]error{}
)

// beginData starts all streams; they are read while the other checks run.
func beginData() {
	keys := stream.WithCredentials(key, secret)
	at := func(base, path string) stream.Option { return stream.WithBaseURL(base + path) }
	ctx := context.Background()

	connecting["stocks"] = stream.NewStocksClient(marketdata.IEX, at(pastURL, "/v2"), keys,
		stream.WithTrades(stockTrades.keep, "AAPL", "SPY"), stream.WithQuotes(stockQuotes.keep, "SPY"),
		stream.WithBars(stockBars.keep, "*"), stream.WithUpdatedBars(updatedBars.keep, "SPY"),
		stream.WithDailyBars(dailyBars.keep, "SPY")).Connect(ctx)
	now = stream.NewStocksClient(marketdata.IEX, at(simURL, "/v2"), keys, stream.WithTrades(nowTrades.keep, "AAPL"),
		stream.WithReconnectSettings(20, 50*time.Millisecond),
		stream.WithConnectCallback(func() { connections <- struct{}{} }))
	connecting["now"] = now.Connect(ctx)
	connecting["test"] = stream.NewStocksClient("test", at(pastURL, "/v2"), keys, stream.WithTrades(testTrades.keep, "FAKEPACA"),
		stream.WithQuotes(testQuotes.keep, "FAKEPACA"), stream.WithBars(testBars.keep, "FAKEPACA")).Connect(ctx)
	connecting["crypto"] = stream.NewCryptoClient(marketdata.US, at(pastURL, "/v1beta3/crypto"), keys,
		stream.WithCryptoTrades(coinTrades.keep, "BTC/USD"), stream.WithCryptoQuotes(coinQuotes.keep, "BTC/USD"),
		stream.WithCryptoBars(coinBars.keep, "BTC/USD"), stream.WithCryptoOrderbooks(coinBooks.keep, "BTC/USD")).Connect(ctx)
	connecting["options"] = stream.NewOptionClient(marketdata.Indicative, at(pastURL, "/v1beta1"), keys,
		stream.WithOptionTrades(optionTrades.keep, pastCall), stream.WithOptionQuotes(optionQuotes.keep, pastCall)).Connect(ctx)
	connecting["news"] = stream.NewNewsClient(at(pastURL, "/v1beta1/news"), keys, stream.WithNews(newsItems.keep, "*")).Connect(ctx)
}

var dataChecks = []check{
	{"every stream connects", func() {
		for name, err := range connecting {
			holds(err == nil, "no error from "+name, err)
		}
	}},
	{"trades of stocks", func() {
		trades := stockTrades.wait(10)
		for i, trade := range trades {
			holds(trade.Symbol == "AAPL" || trade.Symbol == "SPY", "a symbol asked for", trade)
			holds(trade.Price > 0 && trade.Size > 0 && trade.ID > 0 && trade.Exchange != "" && trade.Tape != "", "a trade", trade)
			holds(i == 0 || !trade.Timestamp.Before(trades[i-1].Timestamp.Add(-time.Minute)), "times in order", trade)
		}
		equal(trades[0].Timestamp.UTC().Format(time.DateOnly), "2024-11-26", "date")
	}},
	{"quotes of stocks", func() {
		for _, quote := range stockQuotes.wait(10) {
			holds(quote.Symbol == "SPY" && 0 < quote.BidPrice && quote.BidPrice < quote.AskPrice, "a quote", quote)
			holds(quote.BidSize > 0 && quote.AskSize > 0 && quote.BidExchange != "", "its fields", quote)
		}
	}},
	{"bars of all stocks", func() {
		symbols := map[string]bool{}
		for _, bar := range stockBars.wait(20) {
			symbols[bar.Symbol] = true
			saneBar(bar.Open, bar.High, bar.Low, bar.Close, bar.VWAP)
			holds(bar.Volume > 0 && bar.Timestamp.Second() == 0, "a bar of a minute", bar)
		}
		holds(symbols["AAPL"] && symbols["SPY"] && symbols["F"], "all symbols", symbols)
	}},
	{"updated and daily bars", func() {
		holds(updatedBars.wait(1)[0].Symbol == "SPY", "an updated bar", nil)
		days := dailyBars.wait(2)
		equal(days[0].Timestamp.UTC(), monday.AddDate(0, 0, 1).Add(5*time.Hour), "New York's midnight")
		holds(days[len(days)-1].Volume >= days[0].Volume, "a day that grows", days)
	}},
	{"the present is streamed at its own pace", func() {
		trades := nowTrades.wait(1)
		late := time.Since(trades[len(trades)-1].Timestamp)
		holds(late.Abs() < time.Minute, "a trade of this minute", late)
	}},
	{"the test stream", func() {
		equal(testTrades.wait(1)[0].Symbol, "FAKEPACA", "symbol of a trade")
		equal(testQuotes.wait(1)[0].Symbol, "FAKEPACA", "symbol of a quote")
		equal(testBars.wait(1)[0].Symbol, "FAKEPACA", "symbol of a bar")
	}},
	{"crypto", func() {
		trade := coinTrades.wait(1)[0]
		holds(trade.Symbol == "BTC/USD" && trade.Price > 0 && trade.Size > 0, "a trade", trade)
		quote := coinQuotes.wait(1)[0]
		holds(quote.BidPrice < quote.AskPrice && quote.BidSize > 0, "a quote", quote)
		bar := coinBars.wait(1)[0]
		saneBar(bar.Open, bar.High, bar.Low, bar.Close, bar.VWAP)
		book := coinBooks.wait(2)[0]
		holds(book.Reset && book.Bids[0].Price < book.Asks[0].Price, "the whole book at first", book)
	}},
	{"options", func() {
		trade := optionTrades.wait(1)[0]
		holds(trade.Symbol == pastCall && trade.Price > 0 && trade.Condition != "", "a trade", trade)
		quote := optionQuotes.wait(1)[0]
		holds(quote.BidPrice < quote.AskPrice && quote.Condition != "", "a quote", quote)
	}},
	{"news", func() {
		item := newsItems.wait(1)[0]
		holds(item.Headline != "" && len(item.Symbols) > 0, "an item", item)
		equal(item.CreatedAt.UTC().Format(time.DateOnly), "2024-11-26", "date")
	}},
	{"symbols come and go", func() {
		var added rows[stream.Trade]
		done(now.SubscribeToTrades(func(trade stream.Trade) {
			if trade.Symbol == "MSFT" {
				added.keep(trade)
			}
			nowTrades.keep(trade)
		}, "MSFT"))
		added.wait(1)
		done(now.UnsubscribeFromTrades("MSFT"))
		// One may be under way still; the other symbol's trades are as good as a clock.
		nowTrades.wait(nowTrades.count() + 2)
		before := added.count()
		nowTrades.wait(nowTrades.count() + 3)
		equal(added.count(), before, "trades of a symbol no longer subscribed to")
	}},
	{"wrong keys are refused on a data stream", func() {
		client := stream.NewStocksClient("test", stream.WithBaseURL(simURL+"/v2"), stream.WithCredentials("nobody", "nothing"),
			stream.WithTrades(func(stream.Trade) {}, "FAKEPACA"))
		err := client.Connect(context.Background())
		holds(errors.Is(err, stream.ErrInvalidCredentials), "ErrInvalidCredentials", err)
	}},
	{"too many symbols are refused and the others kept", func() {
		var symbols []string
		for i := range 31 {
			symbols = append(symbols, "SYM"+string(rune('A'+i%26))+string(rune('A'+i/26)))
		}
		err := now.SubscribeToQuotes(func(stream.Quote) {}, symbols...)
		holds(errors.Is(err, stream.ErrSymbolLimitExceeded), "ErrSymbolLimitExceeded", err)
		nowTrades.wait(nowTrades.count() + 1)
	}},
	{"a lost stream of data comes back", func() {
		nowTrades.wait(1)
		<-connections
		faults("stock_stream: drop")
		select {
		case <-connections:
		case <-time.After(20 * time.Second):
			fail("a second connection within 20 s", "none")
		}
		nowTrades.wait(nowTrades.count() + 1)
	}},
}
