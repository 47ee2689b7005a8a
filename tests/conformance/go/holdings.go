package main

import (
	"errors"
	"time"

	"github.com/alpacahq/alpaca-trade-api-go/v3/alpaca"
)

var holdingChecks = []check{
	{"the account", func() {
		flat()
		before := must(trading.GetAccount())
		equal(before.Status+" "+before.Currency, "ACTIVE USD", "status and currency")
		holds(!before.TradingBlocked && !before.AccountBlocked && before.ID != "", "an open account", before)
		number(&before.Equity, before.Cash.String(), "equity without positions")
		between(&before.BuyingPower, before.Cash.String(), "400000", "buying power")
		bought("AAPL", "10")
		after := must(trading.GetAccount())
		spent := before.Cash.Sub(after.Cash)
		between(&spent, "2290", "2310", "cash spent")
		between(&after.LongMarketValue, "2290", "2310", "long market value")
		number(&after.PositionMarketValue, after.LongMarketValue.String(), "position market value")
	}},
	{"positions", func() {
		flat()
		bought("AAPL", "4")
		pin("AAPL", "240")
		held := must(trading.GetPosition("AAPL"))
		equal(held.Side+" "+held.Exchange+" "+string(held.AssetClass), "long NASDAQ us_equity", "side, exchange and class")
		number(&held.Qty, "4", "qty")
		between(held.CurrentPrice, "239", "241", "current price")
		between(held.UnrealizedPL, "32", "48", "unrealized profit")
		between(held.UnrealizedPLPC, "0.035", "0.053", "unrealized profit as a ratio")
		working(place(func(r *request) { r.Side, r.Qty, r.LimitPrice = alpaca.Sell, dec("3"), dec("260") }))
		number(&must(trading.GetPosition("AAPL")).QtyAvailable, "1", "qty available")
		equal(len(must(trading.GetPositions())), 1, "number of positions")
	}},
	{"a short position", func() {
		flat()
		reaches(atMarket("AAPL", "2", alpaca.Sell).ID, "filled")
		held := must(trading.GetPosition("AAPL"))
		number(&held.Qty, "-2", "qty")
		equal(held.Side, "short", "side")
	}},
	{"a position is closed, in parts and whole", func() {
		flat()
		bought("AAPL", "8")
		part := must(trading.ClosePosition("AAPL", alpaca.ClosePositionRequest{Qty: *dec("2")}))
		number(&reaches(part.ID, "filled").FilledQty, "2", "filled qty")
		part = must(trading.ClosePosition("AAPL", alpaca.ClosePositionRequest{Percentage: *dec("50")}))
		number(&reaches(part.ID, "filled").FilledQty, "3", "filled qty")
		rest := must(trading.ClosePosition("AAPL", alpaca.ClosePositionRequest{}))
		number(rest.Qty, "3", "qty")
		reaches(rest.ID, "filled")
		_, err := trading.GetPosition("AAPL")
		refused(err, 404, 40410000, "position does not exist")
	}},
	{"all positions are closed and orders canceled", func() {
		flat()
		bought("AAPL", "2")
		bought("BTC/USD", "0.01")
		resting := working(place(func(r *request) { r.Side, r.Qty, r.LimitPrice = alpaca.Sell, dec("2"), dec("260") }))
		orders := must(trading.CloseAllPositions(alpaca.CloseAllPositionsRequest{CancelOrders: true}))
		equal(len(orders), 2, "number of closing orders")
		for _, order := range orders {
			reaches(order.ID, "filled")
		}
		reaches(resting.ID, "canceled")
	}},
	{"what cannot be closed is an error among orders", func() {
		flat()
		bought("AAPL", "2")
		bought("F", "3")
		working(place(func(r *request) { r.Side, r.Qty, r.LimitPrice = alpaca.Sell, dec("2"), dec("260") }))
		orders, err := trading.CloseAllPositions(alpaca.CloseAllPositionsRequest{})
		equal(len(orders), 1, "number of closing orders")
		refused(err, 403, 40310000, "insufficient qty available")
	}},
	{"account configurations", func() {
		flat()
		before := must(trading.GetAccountConfigurations())
		equal(before.NoShorting, false, "no shorting")
		change := alpaca.UpdateAccountConfigurationsRequest{
			DtbpCheck: string(before.DTBPCheck), TradeConfirmEmail: string(alpaca.None), NoShorting: true,
		}
		after := must(trading.UpdateAccountConfigurations(change))
		equal(after.NoShorting, true, "no shorting")
		equal(after.TradeConfirmEmail, alpaca.None, "e-mail")
		change.NoShorting, change.TradeConfirmEmail = false, string(before.TradeConfirmEmail)
		equal(must(trading.UpdateAccountConfigurations(change)).NoShorting, false, "no shorting, restored")
	}},
	{"portfolio history", func() {
		month := must(trading.GetPortfolioHistory(alpaca.GetPortfolioHistoryRequest{}))
		equal(month.Timeframe, alpaca.Day1, "timeframe")
		equal(len(month.Equity), len(month.Timestamp), "number of equities")
		day := must(trading.GetPortfolioHistory(alpaca.GetPortfolioHistoryRequest{Period: "1D", TimeFrame: alpaca.Min5}))
		equal(day.Timeframe, alpaca.Min5, "timeframe")
	}},
	{"activities are paged", func() {
		flat()
		first, second, third := bought("AAPL", "1"), bought("AAPL", "2"), bought("AAPL", "3")
		fills := alpaca.GetAccountActivitiesRequest{ActivityTypes: []string{"FILL"}, PageSize: 2}
		page := must(trading.GetAccountActivities(fills))
		equal(page[0].OrderID+" "+page[1].OrderID, third.ID+" "+second.ID, "orders of the page")
		row := page[0]
		equal(row.ActivityType+" "+row.Type+" "+row.Side+" "+row.Symbol+" "+row.OrderStatus, "FILL fill buy AAPL filled", "row")
		number(&row.CumQty, "3", "cum qty")
		number(&row.LeavesQty, "0", "leaves qty")
		holds(!row.TransactionTime.IsZero(), "a transaction time", row)
		fills.PageToken = page[1].ID
		equal(must(trading.GetAccountActivities(fills))[0].OrderID, first.ID, "order of the next page")
		since := alpaca.GetAccountActivitiesRequest{
			ActivityTypes: []string{"FILL"}, After: first.SubmittedAt.Add(-time.Millisecond), Direction: "asc",
		}
		equal(must(trading.GetAccountActivities(since))[0].OrderID, first.ID, "the first after a moment")
	}},
	{"the clock and the calendar", func() {
		market("open")
		clock := must(trading.GetClock())
		holds(clock.IsOpen && clock.NextClose.After(clock.Timestamp), "an open market", clock)
		from := time.Date(2024, 11, 25, 0, 0, 0, 0, time.UTC)
		days := must(trading.GetCalendar(alpaca.GetCalendarRequest{Start: from, End: from.AddDate(0, 0, 5)}))
		equal(len(days), 4, "trading days of Thanksgiving week")
		equal(days[3], alpaca.CalendarDay{Date: "2024-11-29", Open: "09:30", Close: "13:00"}, "the short day")
	}},
	{"assets", func() {
		apple := must(trading.GetAsset("AAPL"))
		equal(apple.Exchange, "NASDAQ", "exchange")
		holds(apple.Tradable && apple.Fractionable && apple.Shortable && apple.EasyToBorrow, "a share to trade", apple)
		holds(apple.MaintenanceMarginRequirement > 0, "a margin requirement", apple)
		equal(must(trading.GetAsset(apple.ID)).Symbol, "AAPL", "the asset by id")
		coins := must(trading.GetAssets(alpaca.GetAssetsRequest{AssetClass: "crypto", Status: "active"}))
		holds(len(coins) > 0 && coins[0].Class == alpaca.Crypto, "coins", coins)
		_, err := trading.GetAsset("NOPE")
		refused(err, 404, 40410000, "asset not found for NOPE")
	}},
	{"option contracts are paged", func() {
		contracts := must(trading.GetOptionContracts(alpaca.GetOptionContractsRequest{
			UnderlyingSymbols: "AAPL", Type: alpaca.OptionTypeCall, PageLimit: 3, TotalLimit: 8,
		}))
		equal(len(contracts), 8, "number of contracts")
		seen := map[string]bool{}
		for _, contract := range contracts {
			seen[contract.Symbol] = true
		}
		equal(len(seen), 8, "number of different contracts")
		one := contracts[0]
		equal(one.UnderlyingSymbol+" "+string(one.Type)+" "+string(one.Style), "AAPL call american", "contract")
		number(&one.Size, "100", "size")
		equal(must(trading.GetOptionContract(one.Symbol)).ID, one.ID, "the contract by symbol")
	}},
}

// refused is the SDK's own error, which may be one of several.
func refused(err error, status, code int, message string) *alpaca.APIError {
	var refusal *alpaca.APIError
	if !errors.As(err, &refusal) {
		fail("an *alpaca.APIError", err)
	}
	equal(refusal.StatusCode, status, "status")
	equal(refusal.Code, code, "code")
	holds(contains(refusal.Message, message), "a message with "+message, refusal.Message)
	return refusal
}
