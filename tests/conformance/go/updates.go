package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/alpacahq/alpaca-trade-api-go/v3/alpaca"
)

// The account's trade updates, which the SDK reads as server-sent events.

type heardUpdates struct {
	mutex sync.Mutex
	all   []alpaca.TradeUpdate
}

func (h *heardUpdates) keep(update alpaca.TradeUpdate) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.all = append(h.all, update)
}

// of gives the updates of an order, all of them when event is empty.
func (h *heardUpdates) of(id, event string) (found []alpaca.TradeUpdate) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	for _, update := range h.all {
		if update.Order.ID == id && (event == "" || update.Event == event) {
			found = append(found, update)
		}
	}
	return found
}

func (h *heardUpdates) wait(id, event string) alpaca.TradeUpdate {
	return eventually("event "+event, func() (alpaca.TradeUpdate, bool) {
		found := h.of(id, event)
		if len(found) == 0 {
			return alpaca.TradeUpdate{}, false
		}
		return found[len(found)-1], true
	})
}

var (
	updates   heardUpdates
	listening sync.Once
)

// listen starts the stream in the background once, and waits until the venue has a reader.
func listen() {
	listening.Do(func() { trading.StreamTradeUpdatesInBackground(context.Background(), updates.keep) })
	readers()
}

func readers() {
	eventually("a reader of events", func() (any, bool) {
		count := admin("GET", "state", "")["event_readers"]
		return count, count.(float64) > 0
	})
}

var updateChecks = []check{
	{"a fill is streamed", func() {
		flat()
		listen()
		sent := atMarket("AAPL", "3", alpaca.Buy)
		fill := updates.wait(sent.ID, "fill")
		number(fill.Qty, "3", "qty")
		number(fill.PositionQty, "3", "position qty")
		between(fill.Price, "229", "231", "price")
		equal(fill.Order.Status, "filled", "status of the order")
		equal(fill.Order.ClientOrderID, sent.ClientOrderID, "client order id")
		holds(fill.EventID != "" && fill.ExecutionID != "" && !fill.At.IsZero() && fill.Timestamp != nil, "ids and times", fill)
		var events []string
		for _, update := range updates.of(sent.ID, "") {
			events = append(events, update.Event)
		}
		holds(slices.Contains(events, "new") && events[len(events)-1] == "fill", "new, and the fill last", events)
	}},
	{"a partial fill is streamed", func() {
		flat()
		listen()
		sent := working(place(func(r *request) { r.Qty = dec("4") }))
		admin("POST", "fill", fmt.Sprintf(`{"order": %q, "qty": "1", "price": "199.5"}`, sent.ClientOrderID))
		part := updates.wait(sent.ID, "partial_fill")
		number(part.Price, "199.5", "price")
		number(&part.Order.FilledQty, "1", "filled qty of the order")
	}},
	{"the end of orders is streamed", func() {
		flat()
		listen()
		old := working(place(nil))
		fresh := must(trading.ReplaceOrder(old.ID, alpaca.ReplaceOrderRequest{LimitPrice: dec("201")}))
		replaced := updates.wait(old.ID, "replaced")
		holds(replaced.Order.ReplacedBy != nil && *replaced.Order.ReplacedBy == fresh.ID, "replaced by the new one", replaced)
		working(fresh)
		done(trading.CancelOrder(fresh.ID))
		equal(updates.wait(fresh.ID, "canceled").Order.Status, "canceled", "status")
	}},
	{"a dropped stream comes back and misses nothing", func() {
		flat()
		listen()
		first := working(place(nil))
		updates.wait(first.ID, "new")
		faults("trade_events: drop")
		// Sent while the stream may be down: the SDK asks for what came since the last event.
		var sent []*alpaca.Order
		for range 5 {
			sent = append(sent, place(nil))
		}
		for _, order := range sent {
			updates.wait(order.ID, "new")
			equal(len(updates.of(order.ID, "new")), 1, "number of times that new was heard")
		}
		readers()
	}},
	{"a stream that is refused for a while comes back", func() {
		flat()
		listen()
		faults("trade_events: refuse 1s\ntrade_events: drop")
		sent := atMarket("AAPL", "1", alpaca.Buy)
		updates.wait(sent.ID, "fill")
	}},
	{"the past of a stream is read by time and by id", func() {
		flat()
		listen()
		sent := working(place(nil))
		first := updates.of(sent.ID, "")[0]
		done(trading.CancelOrder(sent.ID))
		last := updates.wait(sent.ID, "canceled")
		read := func(request alpaca.StreamTradeUpdatesRequest) (events []string) {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			done(trading.StreamTradeUpdates(ctx, func(update alpaca.TradeUpdate) {
				if update.Order.ID == sent.ID {
					events = append(events, update.Event)
				}
			}, request))
			return events
		}
		var all []string
		for _, update := range updates.of(sent.ID, "") {
			all = append(all, update.Event)
		}
		byTime := read(alpaca.StreamTradeUpdatesRequest{Since: first.At, Until: last.At})
		holds(slices.Equal(byTime, all), fmt.Sprint(all, " by time"), byTime)
		byID := read(alpaca.StreamTradeUpdatesRequest{SinceID: first.EventID, UntilID: last.EventID})
		holds(slices.Equal(byID, all), fmt.Sprint(all, " by id"), byID)
	}},
	{"wrong keys are refused on the stream", func() {
		err := newTrading("nobody", "nothing").StreamTradeUpdates(
			context.Background(), func(alpaca.TradeUpdate) {}, alpaca.StreamTradeUpdatesRequest{})
		holds(err != nil && contains(err.Error(), "HTTP 401"), "HTTP 401", err)
	}},
	{"a canceled context ends the stream", func() {
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(100*time.Millisecond, cancel)
		err := trading.StreamTradeUpdates(ctx, func(alpaca.TradeUpdate) {}, alpaca.StreamTradeUpdatesRequest{})
		holds(errors.Is(err, context.Canceled), "context.Canceled", err)
	}},
}
