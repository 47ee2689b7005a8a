package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/alpacahq/alpaca-trade-api-go/v3/alpaca"
	"github.com/shopspring/decimal"
)

var (
	simURL, pastURL = env("SIM_URL"), env("SIM_PAST_URL")
	key, secret     = env("SIM_API_KEY"), env("SIM_API_SECRET")
	trading         = newTrading(key, secret)
	numbered        atomic.Int64
)

func newTrading(key, secret string) *alpaca.Client {
	return alpaca.NewClient(alpaca.ClientOpts{
		APIKey: key, APISecret: secret, BaseURL: simURL, RetryLimit: 2, RetryDelay: 50 * time.Millisecond,
	})
}

// admin pulls one lever of the simulator.
func admin(method, path, body string) map[string]any {
	request := must(http.NewRequest(method, simURL+"/_sim/"+path, bytes.NewBufferString(body)))
	response := must(http.DefaultClient.Do(request))
	defer response.Body.Close()
	text := must(io.ReadAll(response.Body))
	if response.StatusCode != http.StatusOK {
		fail("/_sim/"+path+" to be answered well", string(text))
	}
	var answer map[string]any
	_ = json.Unmarshal(text, &answer) // a list of faults is not looked at
	return answer
}

func pin(symbol, price string) {
	admin("POST", "price", fmt.Sprintf(`{"symbol": %q, "price": %q}`, symbol, price))
}

func market(hours string) {
	admin("POST", "market", fmt.Sprintf(`{"market": %q}`, hours))
}

func faults(text string) {
	admin("POST", "faults", text)
}

// flat is what a check of orders begins with: no orders, no positions, an open market, known prices.
func flat() {
	admin("DELETE", "faults", "")
	market("open")
	prices := map[string]string{"AAPL": "230", "SPY": "600", "F": "11.50", "BTC/USD": "95000", "ETH/USD": "3300"}
	for symbol, price := range prices {
		pin(symbol, price)
	}
	done(trading.CancelAllOrders())
	eventually("no open orders", func() (int, bool) {
		open := must(trading.GetOrders(alpaca.GetOrdersRequest{}))
		return len(open), len(open) == 0
	})
	must(trading.CloseAllPositions(alpaca.CloseAllPositionsRequest{CancelOrders: true}))
	eventually("no positions", func() (int, bool) {
		held := must(trading.GetPositions())
		return len(held), len(held) == 0
	})
}

func clientID() string {
	return fmt.Sprintf("go-%d-%d", time.Now().UnixNano(), numbered.Add(1))
}

func dec(text string) *decimal.Decimal {
	value := decimal.RequireFromString(text)
	return &value
}

// number compares decimals by value: 1.50 is 1.5.
func number(got *decimal.Decimal, expected, what string) {
	if got == nil || !got.Equal(*dec(expected)) {
		fail(what+" "+expected, got)
	}
}

func between(got *decimal.Decimal, low, high, what string) {
	if got == nil || got.LessThan(*dec(low)) || got.GreaterThan(*dec(high)) {
		fail(fmt.Sprintf("%s from %s to %s", what, low, high), got)
	}
}

// order is a limit order for a share of AAPL far from the market, changed as asked.
func order(change func(*alpaca.PlaceOrderRequest)) alpaca.PlaceOrderRequest {
	request := alpaca.PlaceOrderRequest{
		Symbol: "AAPL", Qty: dec("1"), Side: alpaca.Buy, Type: alpaca.Limit, TimeInForce: alpaca.Day,
		LimitPrice: dec("200"), ClientOrderID: clientID(),
	}
	if change != nil {
		change(&request)
	}
	return request
}

func place(change func(*alpaca.PlaceOrderRequest)) *alpaca.Order {
	return must(trading.PlaceOrder(order(change)))
}

func atMarket(symbol, qty string, side alpaca.Side) *alpaca.Order {
	return place(func(r *alpaca.PlaceOrderRequest) {
		r.Symbol, r.Qty, r.Side, r.Type, r.LimitPrice = symbol, dec(qty), side, alpaca.Market, nil
		if symbol == "BTC/USD" || symbol == "ETH/USD" {
			r.TimeInForce = alpaca.GTC
		}
	})
}

func bought(symbol, qty string) *alpaca.Order {
	return reaches(atMarket(symbol, qty, alpaca.Buy).ID, "filled")
}

// reaches waits for one of the statuses, and gives the order.
func reaches(id string, statuses ...string) *alpaca.Order {
	return eventually(fmt.Sprintf("an order in status %v", statuses), func() (*alpaca.Order, bool) {
		found := must(trading.GetOrder(id))
		for _, status := range statuses {
			if found.Status == status {
				return found, true
			}
		}
		return found, false
	})
}

func working(order *alpaca.Order) *alpaca.Order {
	return reaches(order.ID, "new")
}

func text(number int) string { return strconv.Itoa(number) }
