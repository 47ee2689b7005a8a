package main

import (
	"encoding/json"
	"strings"

	"github.com/alpacahq/alpaca-trade-api-go/v3/alpaca"
)

const nobody = "00000000-0000-4000-8000-000000000000"

func contains(text, part string) bool { return strings.Contains(text, part) }

// refusedOrder gives the body of a refusal, with the keys that only some have.
func refusedOrder(status, code int, message string, change func(*request)) map[string]any {
	_, err := trading.PlaceOrder(order(change))
	refusal := refused(err, status, code, message)
	var body map[string]any
	done(json.Unmarshal([]byte(refusal.Body), &body))
	return body
}

var refusalChecks = []check{
	{"insufficient buying power", func() {
		flat()
		body := refusedOrder(403, 40310000, "insufficient buying power", func(r *request) { r.Qty = dec("100000") })
		for _, key := range []string{"buying_power", "cost_basis"} {
			_, isText := body[key].(string)
			holds(isText, key+" as a string", body)
		}
	}},
	{"insufficient qty", func() {
		flat()
		bought("AAPL", "2")
		sell := func(r *request) { r.Side, r.LimitPrice = alpaca.Sell, dec("260") }
		working(place(func(r *request) { sell(r); r.Qty = dec("2") }))
		message := "insufficient qty available for order (requested: 1, available: 0)"
		body := refusedOrder(403, 40310000, message, sell)
		equal(body["held_for_orders"].(string)+" "+body["existing_qty"].(string)+" "+body["symbol"].(string), "2 2 AAPL", "keys")
	}},
	{"a client order id is unique for ever", func() {
		flat()
		sent := working(place(nil))
		done(trading.CancelOrder(sent.ID))
		reaches(sent.ID, "canceled")
		refusedOrder(422, 40010001, "client_order_id must be unique", func(r *request) { r.ClientOrderID = sent.ClientOrderID })
	}},
	{"an unknown order", func() {
		_, err := trading.GetOrder(nobody)
		refused(err, 404, 40410000, "order not found")
		_, err = trading.GetOrderByClientOrderID("nobody")
		refused(err, 404, 40410000, "order not found")
		refused(trading.CancelOrder(nobody), 404, 40410000, "order not found")
		_, err = trading.ReplaceOrder(nobody, alpaca.ReplaceOrderRequest{Qty: dec("1")})
		refused(err, 404, 40410000, "order not found")
		_, err = trading.GetOrder("not-a-uuid")
		refused(err, 422, 40010001, "order_id is missing")
	}},
	{"an order that is over", func() {
		flat()
		refused(trading.CancelOrder(bought("AAPL", "1").ID), 422, 42210000, `order is already in "filled" state`)
	}},
	{"a wash trade", func() {
		flat()
		bought("AAPL", "5")
		buy := working(place(func(r *request) { r.LimitPrice = dec("225") }))
		body := refusedOrder(403, 40310000, "potential wash trade detected. use complex orders", func(r *request) {
			r.Side, r.Type, r.LimitPrice, r.StopPrice = alpaca.Sell, alpaca.Stop, nil, dec("220")
		})
		equal(body["existing_order_id"].(string), buy.ID, "existing order id")
	}},
	{"prices off the grid", func() {
		flat()
		refusedOrder(422, 42210000, "sub-penny increment", func(r *request) { r.LimitPrice = dec("200.123") })
		rounded := alpaca.RoundLimitPrice(*dec("200.123"), alpaca.Buy)
		number(working(place(func(r *request) { r.LimitPrice = rounded })).LimitPrice, "200.13", "limit price, rounded by the SDK")
	}},
	{"a position that is not there", func() {
		flat()
		_, err := trading.ClosePosition("SPY", alpaca.ClosePositionRequest{})
		refused(err, 404, 40410000, "position does not exist")
	}},
	{"wrong keys", func() {
		_, err := newTrading("nobody", "nothing").GetAccount()
		refused(err, 401, 0, "unauthorized.")
	}},
	{"too many requests", func() {
		flat()
		faults("get_account x2: too-many")
		must(trading.GetAccount())
		faults("get_account x3: too-many")
		_, err := trading.GetAccount()
		refused(err, 429, 42910000, "")
	}},
	{"an order that the market rejects", func() {
		flat()
		admin("POST", "reject", `{"count": 1}`)
		gone := reaches(place(nil).ID, "rejected")
		holds(gone.FailedAt != nil, "a time of the failure", gone)
	}},
}
