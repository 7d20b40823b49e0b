// Java's own HTTP client with nothing set: it offers HTTP/2 by `Upgrade: h2c` in every request.

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.stream.Collectors;

public class JavaClient {
    static final String URL = System.getenv("SERVICE_URL");
    static final String MODEL = System.getenv("SERVICE_MODEL");
    static final String PROMPT = System.getenv("PROMPT");
    static final String TEXT = System.getenv("TEXT");
    static final HttpClient CLIENT = HttpClient.newHttpClient();

    static HttpRequest request(String more) {
        String body = "{\"model\": \"" + MODEL + "\", \"prompt\": \"" + PROMPT + "\", " + more + "}";
        return HttpRequest.newBuilder(URI.create(URL + "/v1/completions"))
                .header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString(body))
                .build();
    }

    static HttpResponse<String> ask(String more) throws Exception {
        return CLIENT.send(request(more), BodyHandlers.ofString());
    }

    static void check(boolean holds, String told) {
        if (!holds) throw new AssertionError(told);
    }

    /** A text as JSON has it: those here need no other escapes. */
    static String quoted(String text) {
        return "\"" + text.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n") + "\"";
    }

    static void call() throws Exception {
        HttpResponse<String> reply = ask("\"temperature\": 0, \"max_tokens\": 8");
        check(reply.statusCode() == 200, reply.body());
        check(reply.body().contains("\"text\":" + quoted(TEXT)), reply.body());
        HttpRequest plain = HttpRequest.newBuilder(URI.create(URL + "/predictions/" + MODEL
                        + "?temperature=0&max_tokens=8"))
                .POST(HttpRequest.BodyPublishers.ofString(PROMPT))
                .header("Content-Type", "text/plain")
                .header("Accept", "text/plain")
                .build();
        check(CLIENT.send(plain, BodyHandlers.ofString()).body().equals(TEXT), "another text");
    }

    static void stream() throws Exception {
        HttpRequest asked = request("\"temperature\": 0, \"max_tokens\": 8, \"stream\": true");
        String events = CLIENT.send(asked, BodyHandlers.ofLines()).body()
                .filter(line -> line.startsWith("data: {"))
                .map(line -> line.replaceAll(".*\"text\":\"(.*?)\",\"logprobs\".*", "$1"))
                .collect(Collectors.joining());
        check(("\"" + events + "\"").equals(quoted(TEXT)), events);
    }

    static void cancel() throws Exception {
        HttpRequest asked = request("\"max_tokens\": 480, \"stream\": true");
        var body = CLIENT.send(asked, BodyHandlers.ofInputStream()).body();
        body.read();
        body.close();
        System.out.println("left");
        System.in.read();
    }

    static void error() throws Exception {
        HttpResponse<String> reply = ask("\"temperature\": 9");
        check(reply.statusCode() == 400, "status " + reply.statusCode());
        check(reply.body().contains("\"param\": \"temperature\""), reply.body());
    }

    static void retry() throws Exception {
        HttpResponse<String> reply = ask("\"temperature\": 0, \"max_tokens\": 8");
        check(reply.statusCode() == 429, "it was not refused");
        long seconds = Long.parseLong(reply.headers().firstValue("retry-after").orElseThrow());
        Thread.sleep(1000 * seconds);
        call();
    }

    public static void main(String[] words) throws Exception {
        switch (words[0]) {
            case "call" -> call();
            case "stream" -> stream();
            case "cancel" -> cancel();
            case "error" -> error();
            case "retry" -> retry();
            default -> throw new IllegalArgumentException(words[0]);
        }
        System.exit(0);
    }
}
