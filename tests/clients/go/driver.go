// Does with RocketMQ's official Go client what it is told, a JSON object a line, and tells what it saw: it judges nothing.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	rmq "github.com/apache/rocketmq-clients/golang/v5"
	"github.com/apache/rocketmq-clients/golang/v5/credentials"
)

type message struct {
	Topic        string            `json:"topic"`
	Body         []byte            `json:"body"`
	Tag          string            `json:"tag"`
	Keys         []string          `json:"keys"`
	Properties   map[string]string `json:"properties"`
	MessageGroup string            `json:"messageGroup"`
	DeliverAt    int64             `json:"deliverAt"`
}

type step struct {
	Do          string    `json:"do"`
	Topic       string    `json:"topic"`
	Topics      []string  `json:"topics"`
	Group       string    `json:"group"`
	Name        string    `json:"name"`
	Messages    []message `json:"messages"`
	Message     message   `json:"message"`
	Async       bool      `json:"async"`
	Checker     bool      `json:"checker"`
	End         string    `json:"end"`
	Handle      string    `json:"handle"`
	ID          string    `json:"id"`
	IDs         []string  `json:"ids"`
	Max         int32     `json:"max"`
	AwaitMs     int64     `json:"awaitMs"`
	InvisibleMs int64     `json:"invisibleMs"`
	Filter      *struct {
		Type       string `json:"type"`
		Expression string `json:"expression"`
	} `json:"filter"`
}

type what = map[string]any

var (
	config   rmq.Config
	producer rmq.Producer
	consumer rmq.SimpleConsumer
	running  []interface{ GracefulStop() error }
	received = map[string]*rmq.MessageView{}
	tries    = map[string]int{}
	tongue   sync.Mutex
)

func say(saw string, more what) {
	tongue.Lock()
	defer tongue.Unlock()
	more["saw"] = saw
	line, _ := json.Marshal(more)
	fmt.Println(string(line))
}

func refusal(err error) what {
	told := what{"code": nil, "error": err.Error()}
	if status, ok := rmq.AsErrRpcStatus(err); ok {
		told["code"] = status.Code
	}
	return told
}

func messageOf(given message) *rmq.Message {
	made := &rmq.Message{Topic: given.Topic, Body: given.Body}
	if given.Tag != "" {
		made.SetTag(given.Tag)
	}
	made.SetKeys(given.Keys...)
	for name, value := range given.Properties {
		made.AddProperty(name, value)
	}
	if given.MessageGroup != "" {
		made.SetMessageGroup(given.MessageGroup)
	}
	if given.DeliverAt != 0 {
		made.SetDelayTimestamp(time.UnixMilli(given.DeliverAt))
	}
	return made
}

func seen(of *rmq.MessageView) what {
	return what{"id": of.GetMessageId(), "topic": of.GetTopic(), "body": of.GetBody(), "tag": of.GetTag(), "keys": of.GetKeys(),
		"properties": of.GetProperties(), "messageGroup": of.GetMessageGroup(), "attempt": of.GetDeliveryAttempt()}
}

func with(more what, name string, value any) what {
	more[name] = value
	return more
}

func check(of *rmq.MessageView) rmq.TransactionResolution {
	answer := of.GetProperties()["answer"]
	say("asked", with(seen(of), "answer", answer))
	if answer == "commit" {
		return rmq.COMMIT
	}
	return rmq.ROLLBACK
}

func listener(name string) rmq.MessageListener {
	return &rmq.FuncMessageListener{Consume: func(of *rmq.MessageView) rmq.ConsumerResult {
		tongue.Lock()
		tries[of.GetMessageId()]++
		count := tries[of.GetMessageId()]
		tongue.Unlock()
		say("consumed", with(seen(of), "consumer", name))
		if fails, _ := strconv.Atoi(of.GetProperties()["fail"]); count <= fails {
			return rmq.FAILURE
		}
		return rmq.SUCCESS
	}}
}

func subscription(told step) map[string]*rmq.FilterExpression {
	wanted := rmq.SUB_ALL
	if told.Filter != nil && told.Filter.Type == "sql92" {
		wanted = rmq.NewFilterExpressionWithType(told.Filter.Expression, rmq.SQL92)
	} else if told.Filter != nil {
		wanted = rmq.NewFilterExpression(told.Filter.Expression)
	}
	return map[string]*rmq.FilterExpression{told.Topic: wanted}
}

func of(group string) *rmq.Config {
	grouped := config
	grouped.ConsumerGroup = group
	return &grouped
}

func startProducer(told step) (err error) {
	options := []rmq.ProducerOption{rmq.WithTopics(told.Topics...)}
	if told.Checker {
		options = append(options, rmq.WithTransactionChecker(&rmq.TransactionChecker{Check: check}))
	}
	if producer, err = rmq.NewProducer(of(""), options...); err != nil {
		return err
	}
	running = append(running, producer)
	return producer.Start()
}

func sendOne(given message, async bool) ([]*rmq.SendReceipt, error) {
	if !async {
		return producer.Send(context.Background(), messageOf(given))
	}
	type result struct {
		receipts []*rmq.SendReceipt
		err      error
	}
	came := make(chan result, 1)
	producer.SendAsync(context.Background(), messageOf(given), func(_ context.Context, receipts []*rmq.SendReceipt, err error) {
		came <- result{receipts, err}
	})
	sent := <-came
	return sent.receipts, sent.err
}

func send(told step) error {
	for number, given := range told.Messages {
		receipts, err := sendOne(given, told.Async)
		if err != nil {
			say("refused", with(refusal(err), "number", number))
			continue
		}
		say("sent", what{"number": number, "id": receipts[0].MessageID, "recallHandle": receipts[0].RecallHandle})
	}
	return nil
}

func transaction(told step) error {
	begun := producer.BeginTransaction()
	receipts, err := producer.SendWithTransaction(context.Background(), messageOf(told.Message), begun)
	if err != nil {
		return err
	}
	say("sent", what{"id": receipts[0].MessageID})
	switch told.End {
	case "commit":
		return begun.Commit()
	case "rollback":
		return begun.RollBack()
	}
	return nil
}

func recall(told step) error {
	id, err := producer.Recall(context.Background(), told.Topic, told.Handle)
	if err == nil {
		say("recalled", what{"id": id})
	}
	return err
}

func simple(told step) (err error) {
	wait := 5 * time.Second
	if told.AwaitMs != 0 {
		wait = time.Duration(told.AwaitMs) * time.Millisecond
	}
	options := []rmq.SimpleConsumerOption{rmq.WithSimpleAwaitDuration(wait), rmq.WithSimpleSubscriptionExpressions(subscription(told))}
	if consumer, err = rmq.NewSimpleConsumer(of(told.Group), options...); err != nil {
		return err
	}
	running = append(running, consumer)
	return consumer.Start()
}

func receive(told step) error {
	if told.Max == 0 {
		told.Max = 32
	}
	if told.InvisibleMs == 0 {
		told.InvisibleMs = 30_000
	}
	messages, err := consumer.Receive(context.Background(), told.Max, time.Duration(told.InvisibleMs)*time.Millisecond)
	for _, each := range messages {
		received[each.GetMessageId()] = each
		say("received", seen(each))
	}
	return err
}

func ack(told step) error {
	for _, id := range told.IDs {
		if err := consumer.Ack(context.Background(), received[id]); err != nil {
			return err
		}
	}
	return nil
}

func change(told step) error {
	return consumer.ChangeInvisibleDuration(received[told.ID], time.Duration(told.InvisibleMs)*time.Millisecond)
}

func push(told step) error {
	options := []rmq.PushConsumerOption{rmq.WithPushSubscriptionExpressions(subscription(told)), rmq.WithPushMessageListener(listener(told.Name))}
	pushed, err := rmq.NewPushConsumer(of(told.Group), options...)
	if err != nil {
		return err
	}
	running = append(running, pushed)
	return pushed.Start()
}

func shut(step) (err error) {
	for _, client := range running {
		if stopped := client.GracefulStop(); stopped != nil {
			err = stopped
		}
	}
	running = nil
	return err
}

func main() {
	var at struct {
		Endpoints, AccessKey, AccessSecret string
		TLS                                bool
	}
	if err := json.Unmarshal([]byte(os.Args[1]), &at); err != nil {
		panic(err)
	}
	rmq.EnableSsl = at.TLS
	config = rmq.Config{Endpoint: at.Endpoints, Credentials: &credentials.SessionCredentials{AccessKey: at.AccessKey, AccessSecret: at.AccessSecret}}
	steps := map[string]func(step) error{"producer": startProducer, "send": send, "transaction": transaction, "recall": recall,
		"simple": simple, "receive": receive, "ack": ack, "change": change, "push": push, "close": shut}
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var told step
		if err := json.Unmarshal(line, &told); err != nil {
			panic(err)
		}
		if err := steps[told.Do](told); err != nil {
			say("failed", refusal(err))
		} else {
			say("done", what{})
		}
	}
}
