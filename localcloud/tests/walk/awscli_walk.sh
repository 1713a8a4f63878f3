#!/usr/bin/env bash
# A walk through every service with awscli, as a user types it. Each answer is looked at.
#
#   awscli_walk.sh AWS_PROGRAM BASE_URL        (credentials and region in the environment)
set -euo pipefail
aws_program=$1 base=$2

aws() {
  local service=$1 path
  shift
  case $service in
    ec2) path=compute ;;
    elb) path=LoadBalancing ;;
    autoscaling) path=AutoScaling ;;
    cloudwatch) path=CloudWatch ;;
    iam) path=Euare ;;
    sts) path=Tokens ;;
  esac
  "$aws_program" "$service" "$@" --endpoint-url "$base/services/$path" --output text
}

expect() {
  local wanted=$1 said
  shift
  said=$("$@" 2>&1) || true
  case $said in
    *"$wanted"*) ;;
    *)
      printf '%s\nsaid: %s\nwanted: %s\n' "$*" "$said" "$wanted" >&2
      exit 1
      ;;
  esac
}

expect :root aws sts get-caller-identity --query Arn
zone=$(aws ec2 describe-availability-zones --query 'AvailabilityZones[0].ZoneName')
image=$(aws ec2 describe-images --owners self --query 'Images[0].ImageId')
instance=$(aws ec2 run-instances --image-id "$image" --instance-type t3.micro --query 'Instances[0].InstanceId')
aws ec2 wait instance-running --instance-ids "$instance"
expect running aws ec2 describe-instances --filters "Name=instance-id,Values=$instance" \
  --query 'Reservations[0].Instances[0].State.Name'
volume=$(aws ec2 create-volume --size 1 --availability-zone "$zone" --query VolumeId)
aws ec2 wait volume-available --volume-ids "$volume"
snapshot=$(aws ec2 create-snapshot --volume-id "$volume" --query SnapshotId)
aws ec2 wait snapshot-completed --snapshot-ids "$snapshot"
expect InvalidVolume.NotFound aws ec2 describe-volumes --volume-ids vol-00000000000000000

aws elb create-load-balancer --load-balancer-name cli --availability-zones "$zone" \
  --listeners Protocol=HTTP,LoadBalancerPort=8098,InstancePort=80 >/dev/null
aws elb register-instances-with-load-balancer --load-balancer-name cli --instances "$instance" >/dev/null
expect "$instance" aws elb describe-instance-health --load-balancer-name cli --query 'InstanceStates[0].InstanceId'

aws autoscaling create-launch-configuration --launch-configuration-name cli --image-id "$image" --instance-type t3.micro
aws autoscaling create-auto-scaling-group --auto-scaling-group-name cli --launch-configuration-name cli \
  --min-size 0 --max-size 2 --desired-capacity 0 --availability-zones "$zone"
policy=$(aws autoscaling put-scaling-policy --auto-scaling-group-name cli --policy-name out \
  --adjustment-type ChangeInCapacity --scaling-adjustment 1 --query PolicyARN)
expect policyName/out aws autoscaling describe-policies --auto-scaling-group-name cli --query 'ScalingPolicies[0].PolicyARN'

aws cloudwatch put-metric-data --namespace Cli --metric-name Steps --value 5 --unit Count
expect Steps aws cloudwatch list-metrics --namespace Cli --query 'Metrics[0].MetricName'
aws cloudwatch put-metric-alarm --alarm-name cli --namespace Cli --metric-name Steps --statistic Sum --period 60 \
  --evaluation-periods 1 --threshold 100 --comparison-operator GreaterThanThreshold --alarm-actions "$policy"
aws cloudwatch set-alarm-state --alarm-name cli --state-value ALARM --state-reason "typed by hand"
expect 1 aws autoscaling describe-auto-scaling-groups --auto-scaling-group-names cli \
  --query 'AutoScalingGroups[0].DesiredCapacity'
expect "typed by hand" aws cloudwatch describe-alarm-history --alarm-name cli --history-item-type StateUpdate \
  --query 'AlarmHistoryItems[0].HistoryData'
aws cloudwatch delete-alarms --alarm-names cli

aws iam create-user --user-name cli >/dev/null
expect cli aws iam list-users --query 'Users[].UserName'
expect EntityAlreadyExists aws iam create-user --user-name cli
aws iam delete-user --user-name cli

aws autoscaling delete-auto-scaling-group --auto-scaling-group-name cli --force-delete
for _ in $(seq 60); do
  [ -z "$(aws autoscaling describe-auto-scaling-groups --query 'AutoScalingGroups[].AutoScalingGroupName')" ] && break
done
aws autoscaling delete-launch-configuration --launch-configuration-name cli
aws elb delete-load-balancer --load-balancer-name cli >/dev/null
aws ec2 delete-volume --volume-id "$volume" >/dev/null
aws ec2 delete-snapshot --snapshot-id "$snapshot" >/dev/null
aws ec2 terminate-instances --instance-ids "$instance" >/dev/null
aws ec2 wait instance-terminated --instance-ids "$instance"
echo walked
