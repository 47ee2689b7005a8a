// A client of the gateway: orders and their outcomes, order events, positions, cancels, bars. It speaks NATS alone: no key of
// Alpaca's, no library of theirs.
//
//	make -C ../.. go-proto && go run . order AAPL buy 1
//
// NATS_URL and PREFIX say where.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"nalpaca.example/client/gen/streampb"
	"nalpaca.example/client/gen/tradesvcpb"
)

const usage = `usage:
  order SYMBOL buy|sell QTY        place an order at the market, wait for its outcome
  cancel CLIENT_ORDER_ID           cancel it, wait for the outcome
  follow FILE [-until-now]         every order event, from where FILE says it stopped
  positions [-count N]             what the account holds, whenever it changes
  bars SYMBOL DATE                 daily bars since then`

// How long anything is waited for.
const patience = 30 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	commands := map[string]struct {
		words int
		run   func(*client, context.Context, []string) error
	}{
		"order":     {3, (*client).order},
		"cancel":    {1, (*client).cancel},
		"follow":    {1, (*client).follow},
		"positions": {0, (*client).positions},
		"bars":      {2, (*client).bars},
	}
	if len(args) == 0 {
		return errors.New(usage)
	}
	command, ok := commands[args[0]]
	if !ok || len(args)-1 < command.words {
		return errors.New(usage)
	}
	c, err := connect()
	if err != nil {
		return err
	}
	defer c.nc.Close()
	return command.run(c, ctx, args[1:])
}

type client struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	prefix string
}

func env(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func connect() (*client, error) {
	nc, err := nats.Connect(env("NATS_URL", nats.DefaultURL), nats.Name("nalpaca-example-go"))
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	return &client{nc, js, env("PREFIX", "nalpaca")}, nil
}

// escape spells a text as one token of a subject or key: any byte but A-Z a-z 0-9 - _ / is written =HH.
func escape(text string) string {
	var out strings.Builder
	for _, b := range []byte(text) {
		switch {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', strings.IndexByte("-_/", b) >= 0:
			out.WriteByte(b)
		default:
			fmt.Fprintf(&out, "=%02X", b)
		}
	}
	return out.String()
}

// escapeID spells a client order id: its dots split tokens.
func escapeID(id string) string {
	tokens := strings.Split(id, ".")
	for i, token := range tokens {
		tokens[i] = escape(token)
	}
	return strings.Join(tokens, ".")
}

// settle publishes a command and waits for its one terminal outcome. The outcome is listened for first, so that it cannot be
// missed; the command's sequence tells it from those of commands with the same id.
func (c *client) settle(ctx context.Context, kind, id string, payload []byte) (*tradesvcpb.Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	outcomes, err := c.nc.SubscribeSync(c.prefix + ".journal.v0.outcomes." + escapeID(id))
	if err != nil {
		return nil, err
	}
	defer outcomes.Unsubscribe()
	stored, err := c.js.Publish(ctx, c.prefix+".action.v0."+kind+"."+escapeID(id), payload)
	if err != nil {
		return nil, fmt.Errorf("publish, and publish again under the same id: %w", err)
	}
	for {
		message, err := outcomes.NextMsgWithContext(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s is stored as %d, and nothing is known of it yet: %w", id, stored.Sequence, err)
		}
		outcome := new(tradesvcpb.Outcome)
		if err := proto.Unmarshal(message.Data, outcome); err != nil {
			return nil, err
		}
		if outcome.GetTerminal() && outcome.GetStreamSequence() == stored.Sequence {
			return outcome, nil
		}
	}
}

func show(outcome *tradesvcpb.Outcome) error {
	kind := strings.TrimPrefix(outcome.GetKind().String(), "OUTCOME_KIND_")
	fmt.Println(strings.TrimSpace(fmt.Sprintf("%s %s %s %s", kind, outcome.GetClientOrderId(), outcome.GetReason(), outcome.GetMessage())))
	if outcome.GetKind() != tradesvcpb.OutcomeKind_OUTCOME_KIND_ACCEPTED {
		return errors.New("not accepted")
	}
	return nil
}

func (c *client) order(ctx context.Context, args []string) error {
	side, ok := tradesvcpb.Side_value["SIDE_"+strings.ToUpper(args[1])]
	if !ok {
		return errors.New(usage)
	}
	trade := &tradesvcpb.Trade{
		Symbol:    args[0],
		Side:      tradesvcpb.Side(side),
		Qty:       args[2],
		OrderType: tradesvcpb.OrderType_ORDER_TYPE_MARKET,
		Tif:       tradesvcpb.TimeInForce_TIME_IN_FORCE_DAY,
	}
	payload, err := proto.Marshal(trade)
	if err != nil {
		return err
	}
	outcome, err := c.settle(ctx, "orders", "go."+uuid.NewString(), payload)
	if err != nil {
		return err
	}
	return show(outcome)
}

func (c *client) cancel(ctx context.Context, args []string) error {
	outcome, err := c.settle(ctx, "cancel", args[0], nil)
	if err != nil {
		return err
	}
	return show(outcome)
}

// follow shows each order event once, also over restarts of this program: the sequence of the last one it has dealt with is
// all it has to remember.
func (c *client) follow(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("follow", flag.ContinueOnError)
	untilNow := flags.Bool("until-now", false, "end with the last event there is now")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	next := uint64(1)
	if text, err := os.ReadFile(args[0]); err == nil {
		last, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
		if err != nil {
			return fmt.Errorf("%s holds no sequence: %w", args[0], err)
		}
		next = last + 1
	}
	// An ordered consumer notices what it misses and asks for it again.
	updates, err := c.js.OrderedConsumer(ctx, env("JOURNAL_STREAM", "nalpaca-journal-stream-v0"), jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{c.prefix + ".journal.v0.updates.>"},
		DeliverPolicy:  jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:    next,
	})
	if err != nil {
		return err
	}
	for {
		message, err := updates.Next(jetstream.FetchMaxWait(time.Second))
		if errors.Is(err, nats.ErrTimeout) {
			if *untilNow || ctx.Err() != nil {
				return nil
			}
			continue
		}
		if err != nil {
			return err
		}
		update := new(tradesvcpb.TradeUpdate)
		if err := proto.Unmarshal(message.Data(), update); err != nil {
			return err
		}
		metadata, err := message.Metadata()
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%d %s %s %s", metadata.Sequence.Stream, update.GetEvent(), update.GetOrder().GetClientOrderId(), update.GetQty())
		fmt.Println(strings.TrimSpace(line))
		// After it was dealt with, whole or not at all.
		fresh := args[0] + ".new"
		if err := os.WriteFile(fresh, []byte(strconv.FormatUint(metadata.Sequence.Stream, 10)), 0o600); err != nil {
			return err
		}
		if err := os.Rename(fresh, args[0]); err != nil {
			return err
		}
	}
}

func (c *client) positions(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("positions", flag.ContinueOnError)
	count := flags.Int("count", 0, "end after so many")
	if err := flags.Parse(args); err != nil {
		return err
	}
	bucket, err := c.js.KeyValue(ctx, env("NATS_KV_BUCKET", "nalpaca"))
	if err != nil {
		return err
	}
	watch, err := bucket.Watch(ctx, "positions")
	if err != nil {
		return err
	}
	defer watch.Stop()
	for shown := 0; *count == 0 || shown < *count; {
		select {
		case <-ctx.Done():
			return nil
		case entry := <-watch.Updates():
			if entry == nil {
				continue // that was all there is; what follows are changes
			}
			positions := new(tradesvcpb.Positions)
			if err := proto.Unmarshal(entry.Value(), positions); err != nil {
				return err
			}
			var held []string
			for _, position := range positions.GetPositions() {
				held = append(held, position.GetQty()+" "+position.GetSymbol())
			}
			// An empty list is flat; what is not fresh is vouched for by nobody.
			fmt.Printf("positions: [%s] as of %s, fresh %t\n", strings.Join(held, ", "),
				positions.GetAsOf().AsTime().Format(time.RFC3339), positions.GetFresh())
			shown++
		}
	}
	return nil
}

func (c *client) bars(ctx context.Context, args []string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	request := &streampb.BarsRequest{Symbols: []string{args[0]}, Timeframe: "1Day", Start: args[1]}
	for {
		payload, err := proto.Marshal(request)
		if err != nil {
			return err
		}
		message := nats.NewMsg(c.prefix + ".svc.v0.bars.history")
		message.Header.Set("Content-Type", "application/protobuf")
		message.Data = payload
		answer, err := c.nc.RequestMsgWithContext(ctx, message)
		if err != nil {
			return err
		}
		if code := answer.Header.Get("Nats-Service-Error-Code"); code != "" {
			return fmt.Errorf("%s: %s", code, answer.Header.Get("Nats-Service-Error"))
		}
		reply := new(streampb.BarsReply)
		if err := proto.Unmarshal(answer.Data, reply); err != nil {
			return err
		}
		for _, bar := range reply.GetBars() {
			fmt.Printf("%s %s close %.2f\n", bar.GetTimestamp().AsTime().Format(time.DateOnly), bar.GetSymbol(), bar.GetClose())
		}
		if reply.GetNextPageToken() == "" {
			return nil
		}
		request.PageToken = reply.GetNextPageToken()
	}
}
