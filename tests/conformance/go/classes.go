package main

import (
	"fmt"
	"time"

	"github.com/alpacahq/alpaca-trade-api-go/v3/alpaca"
)

// call is the symbol of an AAPL call that expires on a Friday six weeks from now.
func call(strike int) string {
	day := time.Now().UTC().AddDate(0, 0, 42)
	day = day.AddDate(0, 0, (int(time.Friday)-int(day.Weekday())+7)%7)
	return fmt.Sprintf("AAPL%sC%08d", day.Format("060102"), strike*1000)
}

func bracket(limit string) *alpaca.Order {
	return place(func(r *request) {
		r.Qty, r.LimitPrice, r.OrderClass = dec("2"), dec(limit), alpaca.Bracket
		r.TakeProfit = &alpaca.TakeProfit{LimitPrice: dec("250")}
		r.StopLoss = &alpaca.StopLoss{StopPrice: dec("210")}
	})
}

// legs gives the take-profit and the stop-loss.
func legs(order *alpaca.Order) (profit, loss alpaca.Order) {
	equal(len(order.Legs), 2, "number of legs")
	if order.Legs[0].Type == alpaca.Limit {
		return order.Legs[0], order.Legs[1]
	}
	return order.Legs[1], order.Legs[0]
}

func spread(change func(*request)) *alpaca.Order {
	return place(func(r *request) {
		r.Symbol, r.Side, r.OrderClass = "", "", alpaca.MLeg
		r.Legs = []alpaca.Leg{
			{Symbol: call(230), RatioQty: *dec("1"), Side: alpaca.Buy, PositionIntent: alpaca.BuyToOpen},
			{Symbol: call(240), RatioQty: *dec("1"), Side: alpaca.Sell, PositionIntent: alpaca.SellToOpen},
		}
		change(r)
	})
}

var classChecks = []check{
	{"a bracket holds its children until the entry fills", func() {
		flat()
		sent := bracket("220")
		equal(sent.OrderClass, alpaca.Bracket, "class")
		profit, loss := legs(sent)
		equal(profit.Status+" "+loss.Status, "held held", "statuses of the children")
		number(profit.LimitPrice, "250", "limit price")
		number(loss.StopPrice, "210", "stop price")
		working(sent)
		pin("AAPL", "219")
		reaches(sent.ID, "filled")
		working(&profit)
		pin("AAPL", "251")
		reaches(profit.ID, "filled")
		reaches(loss.ID, "canceled")
	}},
	{"canceling a bracket cancels the group", func() {
		flat()
		sent := bracket("220")
		working(sent)
		done(trading.CancelOrder(sent.ID))
		profit, loss := legs(sent)
		for _, id := range []string{sent.ID, profit.ID, loss.ID} {
			reaches(id, "canceled")
		}
	}},
	{"one cancels the other", func() {
		flat()
		bought("AAPL", "2")
		sent := place(func(r *request) {
			r.Qty, r.Side, r.LimitPrice, r.OrderClass, r.TimeInForce = dec("2"), alpaca.Sell, nil, alpaca.OCO, alpaca.GTC
			r.TakeProfit = &alpaca.TakeProfit{LimitPrice: dec("250")}
			r.StopLoss = &alpaca.StopLoss{StopPrice: dec("210"), LimitPrice: dec("205")}
		})
		equal(sent.OrderClass, alpaca.OCO, "class")
		equal(len(sent.Legs), 1, "number of legs")
		equal(sent.Legs[0].Type, alpaca.StopLimit, "type of the leg")
		working(sent)
		pin("AAPL", "209")
		reaches(sent.Legs[0].ID, "filled")
		reaches(sent.ID, "canceled")
	}},
	{"one triggers the other", func() {
		flat()
		sent := place(func(r *request) {
			r.LimitPrice, r.OrderClass, r.StopLoss = dec("225"), alpaca.OTO, &alpaca.StopLoss{StopPrice: dec("200")}
		})
		equal(len(sent.Legs), 1, "number of legs")
		working(sent)
		pin("AAPL", "224")
		reaches(sent.ID, "filled")
		working(&sent.Legs[0])
		pin("AAPL", "199")
		reaches(sent.Legs[0].ID, "filled")
	}},
	{"children are listed inside their parent when asked", func() {
		flat()
		sent := bracket("220")
		working(sent)
		nested := must(trading.GetOrders(alpaca.GetOrdersRequest{Nested: true, Limit: 1}))
		equal(nested[0].ID, sent.ID, "the newest")
		equal(len(nested[0].Legs), 2, "number of legs")
	}},
	{"an option is bought and closed", func() {
		flat()
		sent := place(func(r *request) {
			r.Symbol, r.Type, r.LimitPrice, r.PositionIntent = call(230), alpaca.Market, nil, alpaca.BuyToOpen
		})
		equal(string(sent.AssetClass), "us_option", "asset class")
		equal(sent.PositionIntent, alpaca.BuyToOpen, "intent")
		reaches(sent.ID, "filled")
		closing := must(trading.ClosePosition(call(230), alpaca.ClosePositionRequest{}))
		equal(closing.Side, alpaca.Sell, "side")
		reaches(closing.ID, "filled")
	}},
	{"a spread of options fills as one", func() {
		flat()
		sent := spread(func(r *request) { r.Type, r.LimitPrice = alpaca.Market, nil })
		equal(sent.OrderClass, alpaca.MLeg, "class")
		equal(len(sent.Legs), 2, "number of legs")
		number(sent.Legs[0].RatioQty, "1", "ratio")
		equal(sent.Legs[1].PositionIntent, alpaca.SellToOpen, "intent")
		reaches(sent.ID, "filled")
		held := must(trading.GetPosition(call(240)))
		number(&held.Qty, "-1", "qty of the short leg")
	}},
	{"a spread with a limit rests and is canceled", func() {
		flat()
		sent := working(spread(func(r *request) { r.LimitPrice = dec("0.1") }))
		number(sent.LimitPrice, "0.1", "limit price")
		done(trading.CancelOrder(sent.ID))
		reaches(sent.ID, "canceled")
	}},
}
