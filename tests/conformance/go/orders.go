package main

import (
	"slices"
	"time"

	"github.com/alpacahq/alpaca-trade-api-go/v3/alpaca"
)

type request = alpaca.PlaceOrderRequest

var orderChecks = []check{
	{"a market order fills", func() {
		flat()
		sent := atMarket("AAPL", "3", alpaca.Buy)
		equal(sent.Symbol, "AAPL", "symbol")
		equal(sent.Type, alpaca.Market, "type")
		equal(sent.AssetClass, alpaca.USEquity, "asset class")
		holds(sent.LimitPrice == nil && sent.Notional == nil && sent.FilledAvgPrice == nil && sent.Legs == nil, "nulls", sent)
		number(&sent.FilledQty, "0", "filled qty")
		filled := reaches(sent.ID, "filled")
		number(&filled.FilledQty, "3", "filled qty")
		between(filled.FilledAvgPrice, "229", "231", "filled avg price")
		holds(filled.FilledAt != nil && !filled.FilledAt.Before(filled.SubmittedAt), "a fill after the submission", filled)
		equal(filled.ClientOrderID, sent.ClientOrderID, "client order id")
	}},
	{"an order without a client id is given one", func() {
		flat()
		sent := place(func(r *request) { r.ClientOrderID = "" })
		equal(len(sent.ClientOrderID), 36, "length of the client order id")
	}},
	{"a limit order waits for its price", func() {
		flat()
		sent := working(place(func(r *request) { r.LimitPrice, r.Qty, r.TimeInForce = dec("225.5"), dec("2"), alpaca.GTC }))
		number(sent.LimitPrice, "225.5", "limit price")
		equal(sent.TimeInForce, alpaca.GTC, "time in force")
		pin("AAPL", "225")
		between(reaches(sent.ID, "filled").FilledAvgPrice, "220", "225.5", "filled avg price")
	}},
	{"a stop order is triggered", func() {
		flat()
		sent := working(place(func(r *request) { r.Type, r.LimitPrice, r.StopPrice = alpaca.Stop, nil, dec("235") }))
		number(sent.StopPrice, "235", "stop price")
		pin("AAPL", "236")
		between(reaches(sent.ID, "filled").FilledAvgPrice, "235", "241", "filled avg price")
	}},
	{"a stop limit order is triggered", func() {
		flat()
		sent := working(place(func(r *request) { r.Type, r.LimitPrice, r.StopPrice = alpaca.StopLimit, dec("237"), dec("235") }))
		number(sent.LimitPrice, "237", "limit price")
		pin("AAPL", "236")
		between(reaches(sent.ID, "filled").FilledAvgPrice, "235", "237", "filled avg price")
	}},
	{"a trailing stop follows the price", func() {
		flat()
		bought("AAPL", "1")
		sent := working(place(func(r *request) {
			r.Type, r.Side, r.LimitPrice, r.TrailPercent, r.TimeInForce = alpaca.TrailingStop, alpaca.Sell, nil, dec("5"), alpaca.GTC
		}))
		number(sent.TrailPercent, "5", "trail percent")
		between(sent.HWM, "229", "231", "high water mark")
		pin("AAPL", "250")
		eventually("a higher mark", func() (*alpaca.Order, bool) {
			moved := must(trading.GetOrder(sent.ID))
			return moved, moved.HWM != nil && moved.HWM.GreaterThan(*dec("248"))
		})
		pin("AAPL", "235")
		reaches(sent.ID, "filled")
	}},
	{"a trailing stop by price", func() {
		flat()
		sent := working(place(func(r *request) { r.Type, r.LimitPrice, r.TrailPrice = alpaca.TrailingStop, nil, dec("4.5") }))
		number(sent.TrailPrice, "4.5", "trail price")
		between(sent.StopPrice, "233.5", "235.5", "stop price")
	}},
	{"notional and fractional orders fill", func() {
		flat()
		sent := place(func(r *request) { r.Type, r.LimitPrice, r.Qty, r.Notional = alpaca.Market, nil, nil, dec("115") })
		number(sent.Notional, "115", "notional")
		holds(sent.Qty == nil, "no qty", sent.Qty)
		between(&reaches(sent.ID, "filled").FilledQty, "0.49", "0.51", "filled qty")
		number(&bought("AAPL", "0.25").FilledQty, "0.25", "filled qty")
	}},
	{"crypto orders", func() {
		flat()
		filled := bought("BTC/USD", "0.01")
		equal(filled.AssetClass, alpaca.Crypto, "asset class")
		position := must(trading.GetPosition("BTCUSD"))
		between(&position.Qty, "0.0099", "0.01", "qty of the position, less the fee")
		sent := working(place(func(r *request) {
			r.Symbol, r.Qty, r.LimitPrice, r.TimeInForce = "ETH/USD", dec("0.1"), dec("3000"), alpaca.GTC
		}))
		number(sent.LimitPrice, "3000", "limit price")
	}},
	{"extended hours", func() {
		flat()
		market("closed")
		sent := place(func(r *request) { r.ExtendedHours = true })
		equal(must(trading.GetOrder(sent.ID)).ExtendedHours, true, "extended hours")
	}},
	{"orders for the auctions", func() {
		flat()
		market("closed")
		for _, tif := range []alpaca.TimeInForce{alpaca.OPG, alpaca.CLS} {
			sent := place(func(r *request) { r.TimeInForce = tif })
			equal(sent.TimeInForce, tif, "time in force")
			equal(sent.Status, "accepted", "status")
		}
	}},
	{"immediate or cancel and fill or kill", func() {
		flat()
		for _, tif := range []alpaca.TimeInForce{alpaca.IOC, alpaca.FOK} {
			away := reaches(place(func(r *request) { r.TimeInForce = tif }).ID, "canceled", "expired")
			number(&away.FilledQty, "0", "filled qty")
			reaches(place(func(r *request) { r.TimeInForce, r.LimitPrice = tif, dec("240") }).ID, "filled")
		}
	}},
	{"an order is found by id and client id", func() {
		flat()
		sent := working(place(nil))
		equal(must(trading.GetOrderByClientOrderID(sent.ClientOrderID)).ID, sent.ID, "id")
		equal(must(trading.GetOrder(sent.ID)).ClientOrderID, sent.ClientOrderID, "client order id")
	}},
	{"a cancel ends an order", func() {
		flat()
		sent := working(place(nil))
		done(trading.CancelOrder(sent.ID))
		gone := reaches(sent.ID, "canceled")
		holds(gone.CanceledAt != nil && gone.FilledAt == nil, "a time of the cancel alone", gone)
	}},
	{"cancel all", func() {
		flat()
		first, second := working(place(nil)), working(place(nil))
		done(trading.CancelAllOrders())
		reaches(first.ID, "canceled")
		reaches(second.ID, "canceled")
	}},
	{"a replace makes a new order", func() {
		flat()
		old := working(place(func(r *request) { r.TimeInForce, r.Qty = alpaca.GTC, dec("2") }))
		wanted := clientID()
		fresh := must(trading.ReplaceOrder(old.ID, alpaca.ReplaceOrderRequest{
			Qty: dec("3"), LimitPrice: dec("201.25"), ClientOrderID: wanted,
		}))
		holds(fresh.ID != old.ID && fresh.Replaces != nil && *fresh.Replaces == old.ID, "a new order that replaces", fresh)
		equal(fresh.ClientOrderID, wanted, "client order id")
		equal(fresh.TimeInForce, alpaca.GTC, "time in force, which was sent empty")
		number(fresh.Qty, "3", "qty")
		number(fresh.LimitPrice, "201.25", "limit price")
		gone := reaches(old.ID, "replaced")
		holds(gone.ReplacedBy != nil && *gone.ReplacedBy == fresh.ID && gone.ReplacedAt != nil, "replaced by it", gone)
	}},
	{"orders are listed and filtered", func() {
		flat()
		a := working(place(nil))
		b := working(place(func(r *request) { r.Symbol, r.LimitPrice = "SPY", dec("550") }))
		c := bought("F", "5")
		d := working(place(func(r *request) { r.Symbol, r.Qty, r.Side, r.LimitPrice = "F", dec("5"), alpaca.Sell, dec("13") }))
		listed := func(what string, filter alpaca.GetOrdersRequest, expected ...*alpaca.Order) {
			var got, wanted []string
			for _, order := range must(trading.GetOrders(filter)) {
				got = append(got, order.ID)
			}
			for _, order := range expected {
				wanted = append(wanted, order.ID)
			}
			holds(slices.Equal(got, wanted), what, got)
		}
		listed("open orders, newest first", alpaca.GetOrdersRequest{}, d, b, a)
		listed("oldest first", alpaca.GetOrdersRequest{Direction: "asc"}, a, b, d)
		listed("by symbols", alpaca.GetOrdersRequest{Symbols: []string{"AAPL", "SPY"}}, b, a)
		listed("by side", alpaca.GetOrdersRequest{Side: "sell"}, d)
		listed("all", alpaca.GetOrdersRequest{Status: "all", Limit: 4}, d, c, b, a)
		// The SDK cuts moments to seconds.
		future, past := time.Now().Add(2*time.Second).UTC(), time.Now().Add(-time.Hour).UTC()
		listed("none after now", alpaca.GetOrdersRequest{Status: "all", After: future})
		listed("until now", alpaca.GetOrdersRequest{Status: "all", Until: future, Limit: 1}, d)
		listed("after an hour ago", alpaca.GetOrdersRequest{After: past, Direction: "asc", Limit: 2}, a, b)
	}},
	{"an order filled in parts", func() {
		flat()
		sent := working(place(func(r *request) { r.Qty = dec("4") }))
		admin("POST", "fill", `{"order": "`+sent.ClientOrderID+`", "qty": "1", "price": "199.5"}`)
		part := reaches(sent.ID, "partially_filled")
		number(&part.FilledQty, "1", "filled qty")
		admin("POST", "fill", `{"order": "`+sent.ClientOrderID+`", "qty": "3", "price": "199.9"}`)
		number(reaches(sent.ID, "filled").FilledAvgPrice, "199.8", "filled avg price")
	}},
}
